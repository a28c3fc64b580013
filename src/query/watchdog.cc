#include "query/watchdog.h"

namespace sightline {

Watchdog::Watch::Watch(Watchdog* dog, duckdb_connection connection, Time deadline)
    : dog_(dog), connection_(connection), deadline_(deadline) {
  const std::lock_guard lock(dog_->mutex_);
  dog_->watches_.push_back(this);
  dog_->changed_.notify_one();
}

Watchdog::Watch::~Watch() {
  const std::lock_guard lock(dog_->mutex_);
  dog_->watches_.remove(this);
}

void Watchdog::ExpireAll() {
  const std::lock_guard lock(mutex_);
  all_expired_ = true;
}

void Watchdog::Run(const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kTick{10};
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    changed_.wait(lock, stop, [this] { return !watches_.empty(); });
    const Time now = std::chrono::steady_clock::now();
    for (Watch* watch : watches_) {
      if (now < watch->deadline_ && !all_expired_) continue;
      watch->expired_.store(true);
      duckdb_interrupt(watch->connection_);
    }
    // Queries come and go; looking every few milliseconds while one runs costs nothing.
    changed_.wait_for(lock, stop, kTick, [] { return false; });
  }
}

}  // namespace sightline
