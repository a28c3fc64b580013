// CountOperator: decodes, deduplicates and counts the records of one partition, in order.
//
// It has no thread, no clock and no I/O. The outcome and the window of each event are a function of
// the records before it, so a replay decides the same again. Owned and used by one task.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/event.h"
#include "model/segment.h"
#include "operators/clock_jumps.h"
#include "operators/id_conflicts.h"
#include "pipeline/spec.h"

namespace sightline {

// The range of event times that the pipeline counts, as a checkpoint's state stores it.
struct CountRange {
  EventTime from = kBeforeAllTime, until = kAfterAllTime;
  friend bool operator==(const CountRange&, const CountRange&) = default;
};

class CountOperator {
 public:
  // `hash_seed` is a number that senders cannot know, so that nobody can choose ids that are slow
  // to look up. It is part of the state. Outcomes do not depend on it.
  explicit CountOperator(const PipelineSpec& spec, uint64_t hash_seed = 0);
  ~CountOperator();
  CountOperator(CountOperator&&) noexcept;
  CountOperator& operator=(CountOperator&&) noexcept;

  // Call it once per batch of the source, before the batch's records. It frees what earlier records
  // needed.
  void BeginBatch();
  // Decodes and counts one record. kDecodePadding bytes behind `payload` must be readable.
  void OnRecord(Offset offset, AppendTime append_time, std::string_view payload);
  // The same for elements that are decoded already: `sightline replay` decodes in parallel.
  void OnEvents(Offset offset, AppendTime append_time, std::span<const Event> events);

  // Returns what was counted since the last call as the segment [first, next), and empties the open
  // counts.
  Segment TakeSegment(Offset first, Offset next);
  // The rows and the bytes of dead letters that the next TakeSegment() would return. The task
  // bounds memory between seals by them.
  size_t open_rows() const;
  size_t open_bytes() const;

  // The partition's watermark: the greatest one of its cameras.
  Watermark watermark() const;
  int64_t remembered_ids() const;  // includes ids that are forgotten but not yet swept
  int64_t cameras() const;
  ClockJumps clock_jumps() const;  // since this object was built
  // Since this object was built, or since ForgetIdConflicts().
  const IdConflicts& id_conflicts() const;
  void ForgetIdConflicts();

  // Writes the state for a checkpoint: cameras and remembered ids. The open counts must have been
  // taken before.
  void Save(const std::function<void(std::string_view)>& out) const;
  // kStop if the bytes are damaged or were written under a spec with another fingerprint. Only the
  // range [count_from, count_until) may differ, and only if no event so far lies where the two
  // ranges differ. The remembered ids do not depend on the range, and what was counted stays right.
  Status Load(std::string_view bytes);
  // What Load() says of the settings, without loading: kStop unless the bytes that Save() wrote
  // were written under those of `spec`, whatever its range.
  static Status CheckSettings(const PipelineSpec& spec, std::string_view state);
  // True if the loaded state was written under another range.
  bool range_changed() const;
  // The range in the bytes that Save() wrote. Nothing if they are damaged, or of a version that
  // stores no range.
  static std::optional<CountRange> RangeOf(std::string_view state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
