// The reference: docs/SEMANTICS.md said once more, slowly and over the whole topic. It shares no
// code with src/operators.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "model/segment.h"
#include "model/types.h"
#include "pipeline/spec.h"
#include "topic.h"

namespace sightline::sim {

// What must become of one element.
struct Verdict {
  std::optional<Outcome> outcome;  // none: a heartbeat
  bool conflict = false;
  std::optional<int64_t> watermark;  // its camera's, if the element is accepted
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

// One source partition: its records, and what each must add.
struct Entry {
  Offset offset;
  const Message* message = nullptr;
  std::vector<Addition> additions;
  Watermark watermark = kBeforeAllTime;  // the partition's, after it
};
using Ranges = std::vector<std::pair<Offset, Offset>>;  // half-open, rising, apart
struct Log {
  std::vector<Entry> entries;
  Offset start, end;
  Ranges lost;  // no entries of these were read
  std::vector<Entry>::const_iterator From(Offset offset) const;
  // What a segment of these offsets must say.
  Segment Expect(Offset first, Offset next) const;
};

// Deals a topic out, with holes between offsets.
std::vector<Log> Split(Prng& prng, const PipelineSpec& spec, const std::vector<Message>& topic,
                       const std::vector<std::vector<Verdict>>& verdicts, size_t partitions);

// What each record must add when those of `lost` are never read.
Log Without(const Log& log, const Ranges& lost, const PipelineSpec& spec);

// Throws a Violation that says what differs.
void MustEqual(const Segment& segment, const Segment& expected);

}  // namespace sightline::sim
