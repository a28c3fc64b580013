// PipelineSpec: the one definition of what is counted. It is plain data, and every engine runs the
// same spec.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "model/types.h"
#include "pipeline/decode_rules.h"

namespace sightline {

enum class Identity : uint8_t { kDetection, kCameraAndDetection };
// How far a record without append time moves its camera's watermark (docs/SEMANTICS.md, "Clocks
// without append time").
enum class WatermarkStep : uint8_t {
  kFree,     // to its own time
  kBounded,  // at most dedup_horizon beyond the camera's moment before
};

struct PipelineSpec {
  DecodeRules decode;
  Identity identity = Identity::kDetection;
  Millis window_size{60'000};
  Millis pane_size{10'000};  // divides window_size; live windows are sums of panes
  Millis out_of_orderness{10'000};
  // With out_of_orderness at most 40 d: what is remembered of an id has 32 bits for its time.
  Millis dedup_horizon{3'600'000};
  Millis future_tolerance{60'000};
  std::optional<Millis> max_age = Millis{7 * 86'400'000LL};  // unset for files and backfill
  // At least max_age + future_tolerance: otherwise a copy could count twice.
  Millis camera_ttl{8 * 86'400'000LL};
  WatermarkStep watermark_step = WatermarkStep::kFree;
  Millis idle_timeout{30'000};
  EventTime count_from = kBeforeAllTime;  // [count_from, count_until): the hand-over rule
  EventTime count_until = kAfterAllTime;

  // kStop lists every broken rule on a line of its own: the option, its value, and what to do.
  Status Validate() const;
  // The pipeline in plain words, one rule a line, as `sightline explain` prints it.
  std::string Explain() const;
  // Changes whenever results could change. A checkpoint with another fingerprint is refused.
  uint64_t Fingerprint() const;
};

}  // namespace sightline
