// The reference: docs/SEMANTICS.md implemented once more, slowly and over the whole topic. It
// shares no code with src/operators.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "model/segment.h"
#include "model/types.h"
#include "pipeline/spec.h"
#include "topic.h"

namespace sightline::sim {

// The required outcome of one element.
struct Verdict {
  std::optional<Outcome> outcome;  // none: a heartbeat
  bool conflict = false;
  // What the camera's watermark must be at least, if the element is accepted and moves it.
  std::optional<int64_t> watermark;
};
std::vector<std::vector<Verdict>> Judge(const PipelineSpec& spec,
                                        const std::vector<Message>& topic);

// What one element must add to a segment of its partition.
struct Addition {
  LedgerKey ledger;
  Verdict verdict;
  std::optional<CountKey> count;
  int64_t time = 0;
  std::optional<DeadLetter> dead_letter;
};

// One record of a source partition, and what it must add.
struct Entry {
  Offset offset;
  const Message* message = nullptr;
  std::vector<Addition> additions;
  Watermark watermark = kBeforeAllTime;  // the partition's, after this record
};
using Ranges = std::vector<std::pair<Offset, Offset>>;  // half-open, ascending, disjoint
struct Log {
  std::vector<Entry> entries;
  Offset start, end;
  Ranges lost;  // the ranges that were never read
  std::vector<Entry>::const_iterator From(Offset offset) const;
  // What a segment of these offsets must contain.
  Segment Expect(Offset first, Offset next) const;
};

// Distributes a topic over partitions, with holes between offsets.
std::vector<Log> Split(Prng& prng, const PipelineSpec& spec, const std::vector<Message>& topic,
                       const std::vector<std::vector<Verdict>>& verdicts, size_t partitions);

// What each record must add if the records of `lost` are never read.
Log Without(const Log& log, const Ranges& lost, const PipelineSpec& spec);

// Throws a Violation that names the difference.
void MustEqual(const Segment& segment, const Segment& expected);

}  // namespace sightline::sim
