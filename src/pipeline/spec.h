// PipelineSpec: THE definition of what is counted. Plain data; every engine lowers the same one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

enum class TimeUnit : uint8_t { kSeconds, kMillis, kMicros, kNanos };
enum class Identity : uint8_t { kDetection, kCameraAndDetection };

struct PipelineSpec {
  TimeUnit timestamp_unit = TimeUnit::kMillis;
  Identity identity = Identity::kDetection;
  Millis window_size{60'000};
  Millis pane_size{10'000};  // divides window_size; live windows are sums of panes
  Millis out_of_orderness{10'000};
  Millis dedup_horizon{3'600'000};
  Millis future_tolerance{60'000};
  std::optional<Millis> max_age = Millis{7 * 86'400'000LL};  // none: files and backfill
  Millis camera_ttl{8 * 86'400'000LL};  // >= max_age + future_tolerance, or forgetting could double
  Millis idle_timeout{30'000};
  EventTime count_from = kBeforeAllTime;  // [count_from, count_until): the hand-over rule
  EventTime count_until = kAfterAllTime;

  // kStop with every broken rule, a line each: what, its value, what to do.
  Status Validate() const;
  // The pipeline in plain words, a line a rule, as `sightline explain` prints it.
  std::string Explain() const;
  // Changes when results could: checkpoints of another fingerprint are refused.
  uint64_t Fingerprint() const;
};

}  // namespace sightline
