// Watchdog: interrupts queries that run too long, that nobody waits for any more, or that make the
// process grow too much.
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

// Has one thread for all queries of a database. Thread-safe.
class Watchdog {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class StopReason : uint8_t { kNone, kTime, kMemory, kAbandoned, kStopping };

  Watchdog() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}

  // Stops all queries, and every later one.
  void StopAll();
  // How much the process may grow outside DuckDB's allocator since the first of the running queries
  // began. When it grows more, all of them stop. This is the second line of defence, for memory
  // that DuckDB takes from elsewhere (duck_memory.h); the process can grow between two checks.
  void SetGrowthMax(int64_t bytes);

  // Watches one connection. Once there is a reason to stop, the watchdog interrupts the connection
  // again and again while this lives, because DuckDB forgets an interrupt that comes between two
  // steps of a query.
  class Watch {
   public:
    Watch(Watchdog* watchdog, duckdb_connection connection, Time deadline,
          std::stop_token abandoned);
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch();
    // The first reason for which the connection was interrupted.
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
  // Guarded by mutex_.
  std::list<Watch*> watches_;
  bool stopping_ = false;
  int64_t growth_bytes_max_ = INT64_MAX;
  int64_t bytes_before_ = 0;  // outside DuckDB's allocator, before the first of watches_

  std::jthread thread_;  // last, so that it is joined before what it uses is destroyed
};

}  // namespace sightline
