// SealedList: the sealed segments that some sink of a task has not committed yet, one list for all
// sinks, contiguous up to where the open segment begins. Its oldest part may lie in spilled runs,
// of which it has only the description; segments, rows and bytes are those in memory.
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

// What a segment weighs in memory, about.
int64_t SegmentBytes(const Segment& segment);

class SealedList {
 public:
  // A merged segment has at most so many rows and bytes.
  struct MergeLimits {
    size_t rows_max = 16'384;
    int64_t bytes_max = 4 * 1024 * 1024;
  };
  explicit SealedList(MergeLimits limits) : limits_(limits) {}

  // `segment` begins where the list ends, if it is not empty.
  void Add(Segment segment);
  // Likewise; before any segment, when a checkpoint is loaded.
  void AddRun(SpilledRun run);
  // Drops the runs and segments that end at or before `committed`.
  void DropUntil(Offset committed);
  // The oldest segments in memory that end at or before `limit` and weigh at most `bytes_max`, at
  // least one if one ends there.
  std::span<const Segment> Oldest(int64_t bytes_max, Offset limit) const;
  // They are in `run` now: exactly the segments that it describes leave memory.
  void Spill(SpilledRun run);
  // Merges neighbours, so that a sink of minutes does not hold thousands of segments of
  // milliseconds. Returns how many boundaries it removed.
  //
  // A boundary in `kept` stays. The task keeps each sink's committed offset and the offset that it
  // has offered without having an answer. That is enough:
  //  - Of this life: a sink's list is cut out of this one at its committed and its offered offset,
  //    so no segment that it is given straddles what it has.
  //  - Of the next life, which starts from a checkpoint that was put with the list as it was at
  //  that
  //    moment, up to C: what a sink has then committed is (1) what it had committed at that moment,
  //    or what it had been offered by then without an answer: both were kept, so they are
  //    boundaries of that list; (2) something offered later: the boundaries of the list up to C
  //    only become fewer, so it is one of those, or it lies beyond C, where replay cuts exactly at
  //    it; or (3) the same of a life in between, which began with the same list and removed
  //    boundaries by the same rule.
  //
  // Neighbours are merged when the newer one has at least half of the older one's rows, as runs of
  // a log-structured merge tree are: a row is copied O(log(rows)) times and the list has O(log)
  // segments for each one at the limits and each kept boundary.
  int64_t Merge(std::span<const Offset> kept);
  // Without any rule; the planted bug kOneAccumulator is made of it.
  void MergeAll();

  // Segments in [first, next), all in memory; both are boundaries, or at the ends of the list.
  std::span<const Segment> Between(Offset first, Offset next) const;
  // The run in which the segment that begins at `offset` lies; null: it is in memory, or not here.
  const SpilledRun* RunAt(Offset offset) const;
  bool IsBoundary(Offset offset) const;  // the ends of the list, too
  // True if the segments in memory from `offset` on are more than `size` or weigh more than
  // `bytes`.
  bool Exceeds(Offset offset, size_t size, int64_t bytes) const;

  std::span<const Segment> in_memory() const { return segments_; }
  std::span<const SpilledRun> runs() const { return runs_; }
  [[nodiscard]] bool empty() const { return segments_.empty() && runs_.empty(); }
  size_t size() const { return segments_.size(); }
  int64_t rows() const { return rows_; }
  int64_t bytes() const { return bytes_; }
  int64_t spilled_bytes() const { return spilled_bytes_; }  // as stored
  // Not of an empty list.
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
