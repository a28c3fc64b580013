// Retries: how often and how long one call repeats a request that failed.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>

namespace sightline {

struct RetryLimits {
  // A call makes up to so many attempts, and begins none after so long.
  int32_t attempts_max = 6;
  std::chrono::milliseconds call_time_max{60'000};
  std::chrono::milliseconds pause_min{100}, pause_max{5'000};
};

// Of one call, on one thread.
class Retries {
 public:
  Retries(const RetryLimits& limits, std::stop_token stop);
  // After an attempt that failed: whether there may be another one. Not after a stop.
  bool MayRepeat();
  // How many attempts have failed.
  int32_t failed() const { return failed_; }
  // Waits a random time, up to twice as long each time. A stop ends it.
  void Pause();

 private:
  const RetryLimits limits_;
  const std::stop_token stop_;
  const std::chrono::steady_clock::time_point give_up_;
  std::chrono::milliseconds pause_;
  int32_t failed_ = 0;
};

}  // namespace sightline
