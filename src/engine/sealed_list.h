// SealedList: the sealed segments that some sink of a task has not committed yet. There is one list
// for all sinks, contiguous up to the start of the open segment. Its oldest part may lie in spilled
// runs, of which the list has only the descriptions. size(), rows() and bytes() count the segments
// in memory.
//
// A value of one task, used by its thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/spilled_run.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

// About how many bytes a segment takes in memory.
int64_t SegmentBytes(const Segment& segment);

class SealedList {
 public:
  // A merged segment has at most this many rows and bytes.
  struct MergeLimits {
    size_t rows_max = 16'384;
    int64_t bytes_max = 4 * 1024 * 1024;
  };
  explicit SealedList(MergeLimits limits) : limits_(limits) {}

  // Appends a segment. It must begin where the list ends, unless the list is empty.
  void Add(Segment segment);
  // Appends a run under the same rule. Only while a checkpoint is loaded, before any segment.
  void AddRun(SpilledRun run);
  // Drops the runs and segments that end at or before `committed`.
  void DropUntil(Offset committed);
  // The oldest segments in memory that end at or before `limit` and weigh at most `bytes_max`
  // together; at least one, if one ends there.
  std::span<const Segment> Oldest(int64_t bytes_max, Offset limit) const;
  // Moves the oldest segments out of memory. `run` must describe exactly these segments, and be
  // durable.
  void Spill(SpilledRun run);
  // Merges neighbours, so that a sink that commits once a minute does not hold thousands of
  // segments of a few milliseconds. Returns how many boundaries it removed.
  //
  // A boundary in `kept` stays. The task keeps each sink's committed offset and the offset that it
  // has offered without having an answer. That is enough:
  // - In this life of the task, a sink's offer is cut out of this list at its committed and its
  //   offered offset. So no segment that a sink is given straddles what the sink has.
  // - The next life starts from a checkpoint, which holds this list as it was when it was put, up
  //   to C. What a sink has committed by then is one of three things. (1) It had been committed or
  //   offered when the checkpoint was put: both offsets were kept, so they are boundaries of the
  //   checkpoint's list. (2) It was offered later: boundaries up to C only become fewer, so it is
  //   one of the checkpoint's, or it lies beyond C, where replay cuts exactly at it. (3) It was
  //   committed by a life in between, which began with the same list and removed boundaries by the
  //   same rule.
  //
  // Two neighbours are merged when the newer one has at least half of the older one's rows, like
  // the runs of a log-structured merge tree. So a row is copied O(log(rows)) times, and the list
  // has O(log(rows)) segments for each one at the limits and for each kept boundary.
  int64_t Merge(std::span<const Offset> kept);
  // Merges everything, without any rule. Only the planted bug kOneAccumulator uses it.
  void MergeAll();

  // The segments in [first, next), all of them in memory. Both offsets are boundaries or ends of
  // the list.
  std::span<const Segment> Between(Offset first, Offset next) const;
  // The run that holds the segment which begins at `offset`; null if the segment is in memory, or
  // not in the list.
  const SpilledRun* RunAt(Offset offset) const;
  bool IsBoundary(Offset offset) const;  // the ends of the list are boundaries, too
  // The smallest boundary at or behind `offset`, which must not lie behind the list. The list must
  // not be empty.
  Offset BoundaryFrom(Offset offset) const;
  // True if the segments in memory from `offset` on are more than `size`, or weigh more than
  // `bytes`.
  bool Exceeds(Offset offset, size_t size, int64_t bytes) const;

  std::span<const Segment> in_memory() const { return segments_; }
  std::span<const SpilledRun> runs() const { return runs_; }
  [[nodiscard]] bool empty() const { return segments_.empty() && runs_.empty(); }
  size_t size() const { return segments_.size(); }
  int64_t rows() const { return rows_; }
  int64_t bytes() const { return bytes_; }
  int64_t spilled_bytes() const { return spilled_bytes_; }  // as stored
  // The list must not be empty.
  Offset first() const { return runs_.empty() ? segments_.front().first : runs_.front().first; }
  Offset next() const { return segments_.empty() ? runs_.back().next() : segments_.back().next; }

 private:
  bool SmallEnough(size_t older) const;
  void MergeWithNext(size_t older);

  void Forget(size_t oldest);

  MergeLimits limits_;
  std::vector<SpilledRun> runs_;
  std::vector<Segment> segments_;
  std::vector<int64_t> weights_;  // SegmentBytes of each
  int64_t rows_ = 0;
  int64_t bytes_ = 0;
  int64_t spilled_bytes_ = 0;
};

}  // namespace sightline
