#include "query/watchdog.h"

#include <utility>

#include "query/duck_memory.h"

namespace sightline {
namespace {

// Than in DuckDB's allocator.
int64_t BytesElsewhere() { return ResidentBytes() - duck::MemoryBytes(); }

}  // namespace

Watchdog::Watch::Watch(Watchdog* dog, duckdb_connection connection, Time deadline,
                       std::stop_token abandoned)
    : dog_(dog), connection_(connection), deadline_(deadline), abandoned_(std::move(abandoned)) {
  const std::lock_guard lock(dog_->mutex_);
  if (dog_->watches_.empty()) dog_->bytes_before_ = BytesElsewhere();
  dog_->watches_.push_back(this);
  dog_->changed_.notify_one();
}

Watchdog::Watch::~Watch() {
  const std::lock_guard lock(dog_->mutex_);
  dog_->watches_.remove(this);
}

void Watchdog::EndAll() {
  const std::lock_guard lock(mutex_);
  ending_ = true;
}

void Watchdog::SetGrowthMax(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  growth_bytes_max_ = bytes;
}

Watchdog::End Watchdog::Judge(const Watch& watch, Time now, bool has_grown) const {
  const End before = watch.ended_.load();
  if (before != End::kNot) return before;
  if (ending_) return End::kStopping;
  if (watch.abandoned_.stop_requested()) return End::kAbandoned;
  if (now >= watch.deadline_) return End::kTime;
  return has_grown ? End::kMemory : End::kNot;
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
      const End end = Judge(*watch, now, has_grown);
      if (end == End::kNot) continue;
      watch->ended_.store(end);
      duckdb_interrupt(watch->connection_);
    }
    // Queries come and go; looking every few milliseconds while one runs costs nothing.
    changed_.wait_for(lock, stop, kTick, [] { return false; });
  }
}

}  // namespace sightline
