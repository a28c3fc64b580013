// Sink: the port through which a task's sealed segments become durable (or visible).
//
// An instance belongs to one task, is used by the thread that steps the task, and is discarded with
// it. What it writes to outlives it.
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
  // Fences earlier instances: from here on nothing of theirs takes effect, not even a write that is
  // under way. The last one to fence wins, as with Kafka's transactional.id. `epoch` is the task's
  // claim in the checkpoint store, which grows with every owner.
  virtual Status Fence(const SourcePartition& partition, Epoch epoch) = 0;
  // The offset up to which this sink has everything. kNoneCommitted for a partition that it has
  // never seen: it then takes its first segment wherever that begins.
  virtual Result<Offset> Committed(const SourcePartition& partition) = 0;
  // Commits a contiguous, non-empty list of whole segments and, atomically with them, the new
  // committed offset, which it returns. Compare-and-set: kRebuild unless the committed offset
  // equals segments.front().first. A write whose outcome is unknown says kRebuild.
  // kRetry: not yet. Either nothing happened, or the write of *this* call is under way. In the
  // latter case the next call returns the offset that it committed, whatever longer list it is
  // given.
  virtual Result<Offset> Commit(const SourcePartition& partition,
                                std::span<const Segment> segments) = 0;
  // Follows the task's list. It is called after a checkpoint is loaded, when boundaries between
  // segments were removed, and when a part of the list went into a spilled run. No sink is ever
  // given other boundaries of what is sealed by now. It is for a sink that shows what the others
  // lack and would otherwise keep a second copy.
  virtual void Follow(const SourcePartition&, const SealedList&) {}
};

}  // namespace sightline
