// The harness of HDFS. SIGHTLINE_HDFS is the URL of a NameNode's WebHDFS, and SIGHTLINE_HDFS_FOLDER
// a folder there that is this program's own.
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
    fmt::print(stderr, "{} must be set: see tests/conformance/hdfs.cc\n", name);
    std::exit(2);
  }
  return value;
}

class HdfsHarness final : public StorageHarness {
 public:
  std::unique_ptr<Storage> Open() override {
    const StorageOptions options{
        .hdfs = {{"test", {.namenodes = {Environment("SIGHTLINE_HDFS")}, .user = "sightline"}}}};
    return std::move(OpenStorage("hdfs://test" + folder_, options)).value();
  }

 private:
  static inline std::atomic<int> number_ = 0;
  const std::string folder_ =
      fmt::format("{}/{}/root", Environment("SIGHTLINE_HDFS_FOLDER"), ++number_);
};

}  // namespace

std::vector<Implementation<StoreHarness>> Stores() { return {}; }

std::vector<Implementation<StorageHarness>> Storages() {
  return {{"hdfs", [] { return std::make_unique<HdfsHarness>(); }}};
}

}  // namespace sightline::conformance
