#include "connectors/storage/retries.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

namespace sightline {

Retries::Retries(const RetryLimits& limits, std::stop_token stop)
    : limits_(limits),
      stop_(std::move(stop)),
      give_up_(std::chrono::steady_clock::now() + limits.call_time_max),
      pause_(limits.pause_min) {}

bool Retries::MayRepeat() {
  return ++failed_ < limits_.attempts_max && std::chrono::steady_clock::now() < give_up_ &&
         !stop_.stop_requested();
}

void Retries::Pause() {
  thread_local std::minstd_rand random(std::random_device{}());
  std::uniform_int_distribution<int64_t> length(pause_.count() / 2, pause_.count());
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop_, std::chrono::milliseconds(length(random)),
                                         [] { return false; });
  pause_ = std::min(2 * pause_, limits_.pause_max);
}

}  // namespace sightline
