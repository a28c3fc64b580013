// HandoverPlan: decides whether one pipeline can be handed over to another at a time T, what would
// be copied, and what a person has to do. It is pure: handover.h finds out the facts.
//
// The rule (docs/SEMANTICS.md, "Hand-over"): the old pipeline counts until T. The new one reads
// from T - dedup_horizon and counts from T. So every event has exactly one pipeline that counts it,
// and the new pipeline remembers the detections whose copies may still come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/types.h"
#include "pipeline/spec.h"

namespace sightline {

// The facts about a partition of the source. kNoAppendTime: it has no records.
struct HandoverPartition {
  Offset earliest, from, end;  // `from`: the first offset to copy, if nothing is copied yet
  AppendTime oldest = kNoAppendTime, newest = kNoAppendTime;
  // How far the old pipeline has counted it. Nothing: that is not known, or nothing was counted.
  std::optional<Offset> counted;
  Watermark watermark = kBeforeAllTime;
  // In words: which offsets a sink lacks that the old pipeline has counted. Empty: none.
  std::string lacking;
};

struct HandoverFacts {
  EventTime at;
  PipelineSpec pipeline;  // the old pipeline, by the options that were given to the command
  int64_t now_ms = 0;
  // The source.
  bool embedded = false;   // a data folder, whose server is stopped; false: a topic
  bool until_end = false;  // copy a topic to its present end; false: copy it live
  std::string from;        // its name, for messages
  bool from_log_append_time = true;
  std::vector<HandoverPartition> partitions;
  // The old pipeline's count_until. Nothing: it is not known, or nothing was counted.
  std::optional<EventTime> count_until;
  bool other_settings = false;  // the old pipeline runs with other settings than `pipeline`
  int64_t bytes_a_record = 0;   // approximately
  // The topic to write.
  std::string to;
  bool to_exists = false, to_log_append_time = false, to_compacted = false, to_empty = false;
  int32_t to_partitions = 0;
  // For the commands that the plan prints.
  std::string data;
  std::string brokers;
  // How far an earlier run of this hand-over has copied each partition.
  std::optional<std::vector<Offset>> copied;
  std::string something_else;  // another copy that was made into the topic; empty: none
};

struct HandoverCheck {
  enum class Verdict : uint8_t { kOk, kWarning, kFailed };
  Verdict verdict = Verdict::kOk;
  std::string subject;  // "count_until", "watermark", ...: one or two words
  std::string said;
};
std::string_view ToString(HandoverCheck::Verdict verdict);

struct HandoverPlan {
  std::vector<HandoverCheck> checks;
  int64_t records = 0, bytes = 0;  // what is left to copy, approximately
  AppendTime first = kNoAppendTime, last = kNoAppendTime;
  std::vector<std::string> options;  // for the new pipeline
  std::vector<std::string> steps;    // what a person does, in order
  bool ok() const;                   // no check has failed
};

// Returns the append time at which copying begins. An event with the time T - dedup_horizon may
// have arrived earlier than that by future_tolerance.
AppendTime HandoverStart(EventTime at, const PipelineSpec& pipeline);
HandoverPlan PlanHandover(const HandoverFacts& facts);

// Returns a time as "2026-11-22T12:00:00Z".
std::string TimeText(EventTime time);

}  // namespace sightline
