// Sink: the port through which a task's sealed segments become durable (or visible).
//
// An instance belongs to one task, is used by the thread that steps the task, and is thrown away
// with it. What it writes to outlives it.
#pragma once

#include <span>

#include "base/status.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

class SealedList;

constexpr Offset kNoneCommitted{-1};

class Sink {
 public:
  virtual ~Sink() = default;
  // From here on nothing of an earlier instance takes effect, also not what is under way. The last
  // to come wins, as with Kafka's transactional.id. `epoch` is the task's claim in the checkpoint
  // store: it grows with every owner.
  virtual Status Fence(const SourcePartition& partition, Epoch epoch) = 0;
  // The offset up to which this sink has everything; kNoneCommitted for a partition that it has
  // never seen: it takes its first segment whatever that segment's `first` is.
  virtual Result<Offset> Committed(const SourcePartition& partition) = 0;
  // Whole, contiguous, non-empty list of segments and, atomically with them, the new committed
  // offset, which is returned. Compare-and-set: kRebuild unless the committed offset equals
  // segments.front().first. A write whose outcome is unknown says kRebuild.
  // kRetry: not yet. Either nothing happened, or the write of *this* call is under way: then the
  // next call returns the offset that it committed, whatever longer list it is given.
  virtual Result<Offset> Commit(const SourcePartition& partition,
                                std::span<const Segment> segments) = 0;
  // The task's list as it is now: told after a checkpoint is loaded, when boundaries between its
  // segments were removed, and when a part of it went into a spilled run. No sink will be given
  // other boundaries of what is sealed by now. For one that shows what the others lack and would
  // else keep it a second time.
  virtual void Follow(const SourcePartition&, const SealedList&) {}
};

}  // namespace sightline
