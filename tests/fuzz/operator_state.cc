// CountOperator::Load: a damaged checkpoint is refused. One that is accepted works, and stays the
// same when it is saved and loaded again.

#include <cstdint>
#include <string>

#include "base/check.h"
#include "fuzz_input.h"
#include "operators/count_operator.h"
#include "operators/decode.h"

namespace sightline {
namespace {

constexpr std::string_view kDetection =
    R"({"geographical_location_oid":1,"video_camera_oid":2,"detection_oid":3,)"
    R"("item_name":"car","timestamp_detected":1763800000000})";

std::string Saved(const CountOperator& count) {
  std::string state;
  count.Save([&](std::string_view piece) { state += piece; });
  return state;
}

// A version, a fingerprint, and two varints of at most ten bytes each.
std::string HeaderOf(const std::string& state) {
  size_t end = 9;
  for (int varints = 0; varints < 2; ++end) varints += (state[end] & 0x80) == 0;
  return state.substr(0, end);
}

// The input is what follows the header of the state, so that mutations reach the tables.
void Check(std::string_view bytes) {
  const PipelineSpec spec;
  static const std::string header = HeaderOf(Saved(CountOperator(spec)));
  const FuzzInput input(header + std::string(bytes), 0, '\0');
  CountOperator count(spec);
  if (!count.Load(input.view()).ok()) return;
  const std::string state = Saved(count);
  CountOperator again(spec);
  CHECK(again.Load(state).ok());
  CHECK(again.cameras() == count.cameras() && again.watermark() == count.watermark());
  const FuzzInput message(kDetection, kDecodePadding, '\0');
  for (CountOperator* one : {&count, &again}) {
    one->BeginBatch();
    one->OnRecord({0}, {1'763'800'001'000}, message.view());
  }
  CHECK(count.TakeSegment({0}, {1}) == again.TakeSegment({0}, {1}));
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
