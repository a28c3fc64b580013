#include "live/pace.h"

#include <algorithm>

namespace sightline {

Pace::Pace(const Clock* clock, Millis pane_size, Millis min_interval, Millis heartbeat)
    : clock_(clock),
      pane_size_(pane_size),
      min_interval_(min_interval.v),
      heartbeat_(heartbeat.v),
      next_heartbeat_(Steady::now() + heartbeat_) {}

void Pace::Changed() {
  if (changed_.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  if (viewers_ > 0) condition_.notify_one();
}

void Pace::Wanted() {
  const std::lock_guard lock(mutex_);
  wanted_ = true;
  condition_.notify_one();
}

void Pace::Stop() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
  condition_.notify_one();
}

void Pace::SetWatched(int64_t views, int64_t viewers) {
  const std::lock_guard lock(mutex_);
  views_ = views;
  viewers_ = viewers;
  condition_.notify_one();
}

Pace::Due Pace::DueAt(Steady::time_point now, EventTime pane) const {
  Due due{.stop = stop_, .wanted = wanted_};
  due.heartbeat = views_ > 0 && now >= next_heartbeat_;
  due.pane = viewers_ > 0 && pane != pane_;
  due.change = viewers_ > 0 && changed_.load() && now >= change_allowed_;
  return due;
}

Pace::Steady::time_point Pace::NextAt(Steady::time_point now, int64_t now_ms) const {
  auto next = next_heartbeat_;
  if (viewers_ == 0) return next;
  const int64_t next_pane_ms = WindowStart({now_ms}, pane_size_).v + pane_size_.v;
  next = std::min<Steady::time_point>(next, now + std::chrono::milliseconds(next_pane_ms - now_ms));
  if (changed_.load()) next = std::min(next, change_allowed_);
  return next;
}

Pace::Due Pace::Wait() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto now = Steady::now();
    const int64_t now_ms = clock_->NowMs();
    const EventTime pane = WindowStart({now_ms}, pane_size_);
    const Due due = DueAt(now, pane);
    if (due.stop || due.wanted || due.everything()) {
      wanted_ = false;
      round_started_ = now;
      // Reset before the hub reads Live: a change that comes during the read sets it again.
      if (due.everything()) changed_.store(false);
      if (due.everything()) pane_ = pane;
      if (due.heartbeat) next_heartbeat_ = std::max(next_heartbeat_ + heartbeat_, now);
      return due;
    }
    if (views_ == 0) {
      condition_.wait(lock);
    } else {
      condition_.wait_until(lock, NextAt(now, now_ms));
    }
  }
}

void Pace::Worked(std::chrono::nanoseconds work) {
  const std::lock_guard lock(mutex_);
  change_allowed_ =
      std::max({change_allowed_, round_started_ + min_interval_,
                std::chrono::time_point_cast<Steady::duration>(Steady::now() + 3 * work)});
}

}  // namespace sightline
