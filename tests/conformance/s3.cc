// The harness of S3. SIGHTLINE_S3 is the URL of a server and SIGHTLINE_S3_FOLDER "BUCKET/path", a
// place that is this program's own. The key comes from the environment, as AWS has it.
#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <utility>

#include "connectors/storage/open_storage.h"
#include "harness.h"

namespace sightline::conformance {
namespace {

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) {
    fmt::print(stderr, "{} must be set: see tests/conformance/s3.cc\n", name);
    std::exit(2);
  }
  return value;
}

class S3Harness final : public StorageHarness {
 public:
  std::unique_ptr<Storage> Open() override {
    const std::string bucket = folder_.substr(0, folder_.find('/'));
    const StorageOptions options{.s3 = {{bucket, {.endpoint = Environment("SIGHTLINE_S3")}}}};
    return std::move(OpenStorage("s3://" + folder_, options)).value();
  }

 private:
  static inline std::atomic<int> number_ = 0;
  const std::string folder_ =
      fmt::format("{}/{}/root", Environment("SIGHTLINE_S3_FOLDER"), ++number_);
};

}  // namespace

std::vector<Implementation<StorageHarness>> Storages() {
  return {{"s3", [] { return std::make_unique<S3Harness>(); }}};
}

}  // namespace sightline::conformance
