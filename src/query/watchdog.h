// Watchdog: interrupts queries that have run too long, that nobody waits for, or that make the
// process grow.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "query/duck.h"

namespace sightline {

// One thread for all queries of a database. Thread-safe.
class Watchdog {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class StopReason : uint8_t { kNone, kTime, kMemory, kAbandoned, kStopping };

  Watchdog() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}

  // Every query ends, and every one from here on.
  void StopAll();
  // How much more memory the process may have, beside DuckDB's allocator, than when the first of
  // those that run now began; beyond it all of them end. The second line of defence, for what
  // DuckDB takes from elsewhere (duck_memory.h): it grows between two looks.
  void SetGrowthMax(int64_t bytes);

  // From `deadline` on the connection is interrupted again and again while this lives: an interrupt
  // that falls between two steps of a query is forgotten by DuckDB.
  class Watch {
   public:
    Watch(Watchdog* watchdog, duckdb_connection connection, Time deadline,
          std::stop_token abandoned);
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch();
    // Why it was interrupted: the first reason.
    StopReason stop_reason() const { return stop_reason_.load(); }

   private:
    friend class Watchdog;
    Watchdog* const watchdog_;
    duckdb_connection connection_;
    const Time deadline_;
    const std::stop_token abandoned_;
    std::atomic<StopReason> stop_reason_ = StopReason::kNone;
  };

 private:
  void Run(const std::stop_token& stop);
  StopReason ReasonToStop(const Watch& watch, Time now, bool has_grown) const;

  std::mutex mutex_;
  std::condition_variable_any changed_;
  // By mutex_.
  std::list<Watch*> watches_;
  bool stopping_ = false;
  int64_t growth_bytes_max_ = INT64_MAX;
  int64_t bytes_before_ = 0;  // the first of watches_

  std::jthread thread_;  // last: ends before what it uses
};

}  // namespace sightline
