// ReadCheckpoint: damaged bytes are refused. What is accepted stays the same when it is written and
// read again.

#include "engine/checkpoint.h"

#include <cstdint>
#include <string>

#include "base/check.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const FuzzInput input(bytes, 0, '\0');
  const Result<Checkpoint> read = ReadCheckpoint(input.view());
  if (!read.ok()) return;
  const Checkpoint& checkpoint = read.value();
  std::string written;
  WriteCheckpoint(
      checkpoint.head, checkpoint.runs, checkpoint.sealed,
      [&](const ByteSink& out) { out(checkpoint.state); },
      [&](std::string_view piece) { written += piece; });
  const Result<Checkpoint> again = ReadCheckpoint(written);
  CHECK(again.ok());
  CHECK(again.value().head == checkpoint.head && again.value().runs == checkpoint.runs &&
        again.value().sealed == checkpoint.sealed && again.value().state == checkpoint.state);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
