// CountOperator: decode, deduplicate and count the records of one partition, in their order.
//
// Pure: no thread, no clock, no I/O. The outcome and window of each event are a function of the
// records before it, so replay decides the same again. Owned by one task.
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
#include "pipeline/spec.h"

namespace sightline {

// What a checkpoint's state says of the pipeline that wrote it.
struct CountRange {
  EventTime from = kBeforeAllTime, until = kAfterAllTime;
  friend bool operator==(const CountRange&, const CountRange&) = default;
};

class CountOperator {
 public:
  // `hash_seed`: any number that senders cannot know, so that nobody can choose ids that are slow
  // to look up. Part of the state; outcomes do not depend on it.
  explicit CountOperator(const PipelineSpec& spec, uint64_t hash_seed = 0);
  ~CountOperator();
  CountOperator(CountOperator&&) noexcept;
  CountOperator& operator=(CountOperator&&) noexcept;

  // Call once per Source batch, before its records (frees what earlier records needed).
  void BeginBatch();
  // Decodes and counts one record. `payload` has kDecodePadding readable bytes behind it.
  void OnRecord(Offset offset, AppendTime append_time, std::string_view payload);
  // The same for elements that somebody else has decoded (`sightline replay` decodes in parallel).
  void OnEvents(Offset offset, AppendTime append_time, std::span<const Event> events);

  // What was counted since the last call, as the segment [first, next); the operator's open counts
  // are empty afterwards.
  Segment TakeSegment(Offset first, Offset next);
  // Rows and kept bytes that the next TakeSegment() would return: bounds memory between seals.
  size_t open_rows() const;
  size_t open_bytes() const;

  // The partition's: the greatest over its cameras.
  Watermark watermark() const;
  int64_t remembered_ids() const;  // including those that are forgotten but not yet swept
  int64_t cameras() const;

  // State in the checkpoint: cameras and remembered ids. Open counts must have been taken.
  void Save(const std::function<void(std::string_view)>& out) const;
  // kStop if the bytes are damaged or were written under a spec with another fingerprint. Only the
  // range [count_from, count_until) may be another one, if no event so far lies where the two
  // differ: what is remembered does not depend on it, and what was counted stays right.
  Status Load(std::string_view bytes);
  // The state that was loaded was written under another range.
  bool range_changed() const;
  // Of what Save() wrote; nothing: it is damaged, or of a version that does not say it.
  static std::optional<CountRange> RangeOf(std::string_view state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
