// Watchdog: interrupts queries that have run too long.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "query/duck.h"

namespace sightline {

// One thread for all queries of a database. Thread-safe.
class Watchdog {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Watchdog() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}

  // Every query from here on has run too long.
  void ExpireAll();

  // From `deadline` on the connection is interrupted again and again while this lives: an interrupt
  // that falls between two steps of a query is forgotten by DuckDB.
  class Watch {
   public:
    Watch(Watchdog* dog, duckdb_connection connection, Time deadline);
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch();
    bool expired() const { return expired_.load(); }

   private:
    friend class Watchdog;
    Watchdog* const dog_;
    duckdb_connection connection_;
    const Time deadline_;
    std::atomic<bool> expired_ = false;
  };

 private:
  void Run(const std::stop_token& stop);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::list<Watch*> watches_;  // by mutex_
  bool all_expired_ = false;   // by mutex_
  std::jthread thread_;        // last: ends before what it uses
};

}  // namespace sightline
