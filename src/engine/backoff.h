// Backoff: how long to wait after a call that said kRetry: 1 ms at first, doubled with each failure
// up to 1 s.
//
// A value without a clock: the owner passes the time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace sightline {

class Backoff {
 public:
  static constexpr int64_t kDelayMsMax = 1'000;

  void Failed(int64_t now_ms) {
    delay_ms_ = std::clamp<int64_t>(2 * delay_ms_, 1, kDelayMsMax);
    until_ms_ = now_ms + delay_ms_;
  }
  void Succeeded() { *this = Backoff(); }
  // For something that is rebuilt after it died. One that has lived long starts again with the
  // shortest delay.
  void Died(int64_t built_ms, int64_t now_ms) {
    constexpr int64_t kLongLifeMs = 10'000;
    if (now_ms - built_ms >= kLongLifeMs) Succeeded();
    Failed(now_ms);
  }
  // Ends the current wait: somebody knows that trying again is worthwhile. The next failure still
  // waits longer.
  void RetryNow() { until_ms_ = kBegin; }

  bool Waiting(int64_t now_ms) const { return now_ms < until_ms_; }
  int64_t until_ms() const { return until_ms_; }

 private:
  static constexpr int64_t kBegin = std::numeric_limits<int64_t>::min();
  int64_t delay_ms_ = 0;
  int64_t until_ms_ = kBegin;
};

}  // namespace sightline
