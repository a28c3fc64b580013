// Pace: decides when the hub's thread works.
//
// A change is due at once while the hub is idle. After a round, the next change is due after
// min_interval, and not before the thread has rested three times as long as it worked, so that the
// hub takes at most a quarter of a core. Heartbeats and a new pane are due on time, whatever the
// load. The steady clock measures durations; the Clock says which pane is current.
//
// Thread-safe; only the hub's thread calls Wait() and Worked().
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "base/clock.h"
#include "model/types.h"

namespace sightline {

class Pace {
 public:
  using Steady = std::chrono::steady_clock;
  struct Due {
    bool stop = false;
    bool wanted = false;  // a viewer waits for a snapshot or for its first wake
    bool change = false;  // Live has changed
    bool pane = false;    // the clock has entered another pane
    bool heartbeat = false;
    bool everything() const { return change || pane || heartbeat; }  // all views with viewers
  };

  Pace(const Clock* clock, Millis pane_size, Millis min_interval, Millis heartbeat);

  void Changed();  // takes a few nanoseconds while a change is pending already
  void Wanted();
  void Stop();
  // Reports what the hub has: without views nothing is due, without viewers no change is.
  void SetWatched(int64_t views, int64_t viewers);

  // Blocks until something is due.
  Due Wait();
  // The round that Wait() started took `work` of the thread's CPU time.
  void Worked(std::chrono::nanoseconds work);

 private:
  Due DueAt(Steady::time_point now, EventTime pane) const;
  Steady::time_point NextAt(Steady::time_point now, int64_t now_ms) const;

  const Clock* const clock_;
  const Millis pane_size_;
  const std::chrono::milliseconds min_interval_, heartbeat_;
  std::atomic<bool> changed_{false};

  std::mutex mutex_;  // guards what follows
  std::condition_variable condition_;
  bool stop_ = false;
  bool wanted_ = false;
  int64_t views_ = 0;
  int64_t viewers_ = 0;
  EventTime pane_ = kBeforeAllTime;  // current in the last round over all views
  Steady::time_point round_started_, next_heartbeat_, change_allowed_;
};

}  // namespace sightline
