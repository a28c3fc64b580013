#include "query/watchdog.h"

#include <utility>

#include "query/duck_memory.h"

namespace sightline {
namespace {

// Than in DuckDB's allocator.
int64_t BytesElsewhere() { return ResidentBytes() - duck::MemoryBytes(); }

}  // namespace

Watchdog::Watch::Watch(Watchdog* watchdog, duckdb_connection connection, Time deadline,
                       std::stop_token abandoned)
    : watchdog_(watchdog),
      connection_(connection),
      deadline_(deadline),
      abandoned_(std::move(abandoned)) {
  const std::lock_guard lock(watchdog_->mutex_);
  if (watchdog_->watches_.empty()) watchdog_->bytes_before_ = BytesElsewhere();
  watchdog_->watches_.push_back(this);
  watchdog_->changed_.notify_one();
}

Watchdog::Watch::~Watch() {
  const std::lock_guard lock(watchdog_->mutex_);
  watchdog_->watches_.remove(this);
}

void Watchdog::StopAll() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
}

void Watchdog::SetGrowthMax(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  growth_bytes_max_ = bytes;
}

Watchdog::StopReason Watchdog::ReasonToStop(const Watch& watch, Time now, bool has_grown) const {
  const StopReason before = watch.stop_reason_.load();
  if (before != StopReason::kNone) return before;
  if (stopping_) return StopReason::kStopping;
  if (watch.abandoned_.stop_requested()) return StopReason::kAbandoned;
  if (now >= watch.deadline_) return StopReason::kTime;
  return has_grown ? StopReason::kMemory : StopReason::kNone;
}

void Watchdog::Run(const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kTick{10};
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    changed_.wait(lock, stop, [this] { return !watches_.empty(); });
    const Time now = std::chrono::steady_clock::now();
    const bool has_grown =
        !watches_.empty() && BytesElsewhere() - bytes_before_ > growth_bytes_max_;
    for (Watch* watch : watches_) {
      const StopReason reason = ReasonToStop(*watch, now, has_grown);
      if (reason == StopReason::kNone) continue;
      watch->stop_reason_.store(reason);
      duckdb_interrupt(watch->connection_);
    }
    // Queries come and go; looking every few milliseconds while one runs costs nothing.
    changed_.wait_for(lock, stop, kTick, [] { return false; });
  }
}

}  // namespace sightline
