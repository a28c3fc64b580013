// Segment::Decode: damaged bytes are refused. What is accepted stays the same when it is written
// and read again.

#include "model/segment.h"

#include <cstdint>

#include "base/check.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const FuzzInput input(bytes, 0, '\0');
  ByteReader in(input.view());
  const Result<Segment> segment = Segment::Decode(in);
  if (!segment.ok()) return;
  ByteWriter out;
  segment.value().Encode(out);
  ByteReader again(out.bytes());
  const Result<Segment> same = Segment::Decode(again);
  CHECK(same.ok() && again.done() && same.value() == segment.value());
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
