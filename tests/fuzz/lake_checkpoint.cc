// DecodeCheckpoint: damaged Parquet is refused by name. What is accepted can be written and stays
// the same. Arrow is not instrumented: a fault in it shows as a crash, not as an overread.

#include <cstdint>
#include <string>

#include "base/check.h"
#include "connectors/lake/checkpoint.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const Result<lake::Snapshot> snapshot =
      lake::DecodeCheckpoint({std::string(bytes)}, {7}, "the-checkpoint");
  if (!snapshot.ok()) {
    CHECK(snapshot.status().message().find("the-checkpoint") != std::string::npos);
    return;
  }
  CHECK(snapshot.value().version.v == 7);
  const Result<std::string> written = lake::EncodeCheckpoint(snapshot.value(), 0);
  CHECK(written.ok());
  const Result<lake::Snapshot> again = lake::DecodeCheckpoint({written.value()}, {7}, "written");
  CHECK(again.ok() && again.value().files.size() == snapshot.value().files.size() &&
        again.value().txns == snapshot.value().txns);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
