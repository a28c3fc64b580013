// Activity: when each camera and location was last seen, and what became of their events.
//
// It adds up the segments that the tasks commit, so the hot path does nothing for it. Its numbers
// start with the process. Thread-safe: one mutex, held for the rows of one segment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "model/segment.h"
#include "model/types.h"
#include "monitor/alerts.h"

namespace sightline {

class Activity {
 public:
  // Forgets a camera or location that is silent for longer than `forget_after`.
  Activity(size_t subjects_max, Millis forget_after);
  ~Activity();

  // Adds a segment that was committed at `now_ms`, which is on the clock of MonitorSample::now_ms.
  void Count(const SourcePartition& from, const Segment& segment, int64_t now_ms);
  // Adds a location that is known from earlier, as if it had just been seen.
  void Expect(LocationId location, int64_t now_ms);
  // Forgets the partition's cameras, because another process has the partition now.
  void Forget(const SourcePartition& partition);
  // Forgets which cameras changed partitions. For the end of a catch-up, which delivers partitions
  // in another order than the events happened.
  void ForgetSplits();
  // Fills in the cameras, those that are in two partitions, the locations and the ledger.
  void Fill(int64_t now_ms, MonitorSample& sample);
  // How often a camera or location was met that is beyond subjects_max and therefore unknown.
  int64_t untracked() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
