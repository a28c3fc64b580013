// detection_oids that we make ourselves: unique over cameras, processes and restarts, as long as
// the machine's clock is not set back.
//
//   bit 63 62 | 61      | 60 .. 20                            | 19 .. 0
//        0  0 | maker   | milliseconds since 2020-01-01 UTC   | sequence
//
// Always a positive int64; the milliseconds last until 2089. The maker is 0 for the simulator,
// whose sequence is its camera's index (10 bits) and a number within the camera's millisecond (10
// bits); and 1 for a playback, whose milliseconds are the start of the pass over the recording and
// whose sequence numbers the detections of the pass, with a carry into the milliseconds.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "model/types.h"

namespace sightline {

constexpr int64_t kIdEpochMs = 1'577'836'800'000;  // 2020-01-01T00:00:00Z
constexpr int32_t kIdSequenceBits = 20;
constexpr int64_t kIdCamerasMax = 1 << 10;
constexpr int64_t kIdsPerCameraMs = 1 << 10;

namespace detection_id_internal {
constexpr int64_t kMillisMax = (int64_t{1} << 41) - 1;
constexpr int64_t Millis41(int64_t wall_ms) {
  const int64_t past = wall_ms - kIdEpochMs;
  return past < 0 ? 0 : (past > kMillisMax ? kMillisMax : past);
}
}  // namespace detection_id_internal

// `wall_ms`: by the wall clock, never backwards within a process.
constexpr DetectionId SimulatedId(int64_t wall_ms, int64_t camera_index, int64_t number) {
  CHECK(camera_index >= 0 && camera_index < kIdCamerasMax && number >= 0 &&
        number < kIdsPerCameraMs);
  return {detection_id_internal::Millis41(wall_ms) << kIdSequenceBits |
          camera_index * kIdsPerCameraMs | number};
}

// `pass_start_ms`: by the wall clock; the passes of a process must be further apart than
// PlayedIdMillis() of the pass before.
constexpr DetectionId PlayedId(int64_t pass_start_ms, int64_t number) {
  CHECK(number >= 0);
  constexpr uint64_t kMaker = uint64_t{1} << 61;
  const auto first = static_cast<uint64_t>(detection_id_internal::Millis41(pass_start_ms))
                     << kIdSequenceBits;
  return {static_cast<int64_t>(kMaker | ((first + static_cast<uint64_t>(number)) & (kMaker - 1)))};
}

// Milliseconds that `count` played ids use up.
constexpr int64_t PlayedIdMillis(int64_t count) { return (count >> kIdSequenceBits) + 1; }

}  // namespace sightline
