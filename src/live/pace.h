// Pace: when the hub's thread has something to do.
//
// A change while the hub rests is due at once; then not before min_interval, nor before the thread
// has rested three times as long as it worked: a quarter of a core at most. Heartbeats and the
// clock's step into another pane are due in their time, whatever the load. Time that passes is the
// machine's steady clock; which pane is now is the Clock's word. Any thread may call; Wait() and
// Worked() are the hub's thread's.
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
    bool wanted = false;  // some viewer waits for something
    bool change = false;  // Live changed
    bool pane = false;    // the clock is in another pane
    bool heartbeat = false;
    bool everything() const { return change || pane || heartbeat; }  // all views with viewers
  };

  Pace(const Clock* clock, Millis pane_size, Millis min_interval, Millis heartbeat);

  void Changed();  // a few nanoseconds while a change is pending already
  void Wanted();
  void Stop();
  // What there is: nothing ticks without views, no change is due without viewers.
  void SetWatched(int64_t views, int64_t viewers);

  // Waits until something is due.
  Due Wait();
  // A round that Wait() asked for has taken `work` of the thread's time.
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
  EventTime pane_ = kBeforeAllTime;  // of the last round of everything
  Steady::time_point round_started_, next_heartbeat_, change_allowed_;
};

}  // namespace sightline
