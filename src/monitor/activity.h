// Activity: when each camera and location was last heard of, and what became of their events -
// added up from the segments that a task commits, so that the hot path does nothing for it.
//
// Thread-safe: one mutex, held for the rows of one segment. Of this process's life only.
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
  // `forget_after`: who is silent for longer is not known any more.
  Activity(size_t subjects_max, Millis forget_after);
  ~Activity();

  // `segment` was committed at `now_ms`, of the clock of MonitorSample::now_ms.
  void Count(const SourcePartition& from, const Segment& segment, int64_t now_ms);
  // A location that is known from before, as if it had just been heard of.
  void Expect(LocationId location, int64_t now_ms);
  // Another process has the partition now, and hears its cameras.
  void Forget(const SourcePartition& partition);
  // What came so far came in another order than it had happened: nobody is in two partitions yet.
  void ForgetSplits();
  // Cameras, those of them that are in two partitions, locations and the ledger.
  void Fill(int64_t now_ms, MonitorSample& sample);
  // Cameras and locations beyond subjects_max, of which nothing is known; each time one is met.
  int64_t untracked() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
