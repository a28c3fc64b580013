// Backoff: how long to wait after a call that said kRetry: 1 ms at first, doubled with each failure
// up to a limit.
//
// A value without a clock or randomness: the owner passes the time and a seed. Waits of different
// seeds differ by up to a quarter, so that the tasks of many partitions do not ask a store that is
// in trouble all at the same moment.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>

namespace sightline {

// FNV-1a (Fowler, Noll, Vo): the same on every machine.
constexpr uint64_t SeedOf(std::string_view name, uint64_t number) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return (hash ^ number) * 0x100000001b3ull;
}

class Backoff {
 public:
  // The limit for what is near or calls when it is ready.
  static constexpr int64_t kDelayMsMax = 1'000;
  // The limit for stores. Each attempt costs them something: a file that is written and deleted
  // again, a request to a server that is overloaded.
  static constexpr int64_t kStoreDelayMsMax = 5'000;

  explicit Backoff(int64_t delay_ms_max = kDelayMsMax, uint64_t seed = 0)
      : delay_ms_max_(delay_ms_max), seed_(seed) {}

  void Failed(int64_t now_ms) {
    delay_ms_ = std::clamp<int64_t>(2 * delay_ms_, 1, delay_ms_max_);
    until_ms_ = now_ms + delay_ms_ - Jitter();
    ++attempts_;
  }
  void Succeeded() {
    delay_ms_ = 0;
    attempts_ = 0;
    until_ms_ = kBegin;
  }
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

  // 0 to a quarter of the delay, from a hash of the seed and the attempt.
  int64_t Jitter() const {
    const uint64_t hash = SeedOf({}, seed_ + attempts_) >> 33;
    return static_cast<int64_t>(hash % static_cast<uint64_t>(delay_ms_ / 4 + 1));
  }

  int64_t delay_ms_max_;
  uint64_t seed_;
  uint64_t attempts_ = 0;
  int64_t delay_ms_ = 0;
  int64_t until_ms_ = kBegin;
};

}  // namespace sightline
