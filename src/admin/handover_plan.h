// HandoverPlan: whether a pipeline can be handed over to another one at a time T, what would be
// copied, and what a person does. Pure: of facts that others have found out.
//
// The rule (docs/SEMANTICS.md, "Hand-over"): the old pipeline counts until T, the new one reads
// from T - dedup_horizon and counts from T.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/types.h"
#include "pipeline/spec.h"

namespace sightline {

// Of a partition of the source. kNoAppendTime: there are no records.
struct HandoverPartition {
  Offset earliest, from, end;  // `from`: the first that is copied, if nothing was yet
  AppendTime oldest = kNoAppendTime, newest = kNoAppendTime;
  // What the old pipeline says of it; nothing: that is not known, or it has counted nothing.
  std::optional<Offset> counted;
  Watermark watermark = kBeforeAllTime;
  // Up to where it is counted in each sink that is asked, if that is less; in words.
  std::string lacking;
};

struct HandoverFacts {
  EventTime at;
  PipelineSpec pipeline;  // of the old one, as its options are given here
  int64_t now_ms = 0;
  // The source.
  bool embedded = false;   // a data folder, whose server is stopped; else a topic
  bool until_end = false;  // of a topic: ends where it ends now; else it is copied live
  std::string from;        // in words
  bool from_log_append_time = true;
  std::vector<HandoverPartition> partitions;
  // Of the old pipeline, where it is known; nothing: it is not, or nothing was counted.
  std::optional<EventTime> count_until;
  bool other_settings = false;  // it was written under other settings than `pipeline`
  int64_t bytes_a_record = 0;   // about
  // The topic that is written.
  std::string to;
  bool to_exists = false, to_log_append_time = false, to_compacted = false, to_empty = false;
  int32_t to_partitions = 0;
  std::string data;  // of the commands that are printed
  std::string brokers;
  // An earlier part of this hand-over: how far each partition is copied.
  std::optional<std::vector<Offset>> copied;
  std::string something_else;  // what was copied there instead; empty: nothing
};

struct HandoverCheck {
  enum class Verdict : uint8_t { kOk, kWarning, kFailed };
  Verdict verdict = Verdict::kOk;
  std::string subject;  // one word or two
  std::string said;
};
std::string_view ToString(HandoverCheck::Verdict verdict);

struct HandoverPlan {
  std::vector<HandoverCheck> checks;
  int64_t records = 0, bytes = 0;  // left to copy, about
  AppendTime first = kNoAppendTime, last = kNoAppendTime;
  std::vector<std::string> options;  // of the new pipeline
  std::vector<std::string> steps;    // of a person, in order
  bool ok() const;                   // nothing has failed
};

// Where copying begins: an event of T - dedup_horizon may have come so early.
AppendTime HandoverStart(EventTime at, const PipelineSpec& pipeline);
HandoverPlan PlanHandover(const HandoverFacts& facts);

// "2026-11-22T12:00:00Z".
std::string TimeText(EventTime time);

}  // namespace sightline
