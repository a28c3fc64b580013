// The part of a spilled run that the tables of the lake lack, as rows for queries.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/spilled_run.h"
#include "model/segment.h"
#include "model/types.h"
#include "query/lake_source.h"

namespace sightline {

class PinnedRun;

// Returns the segments that a table at `offset` lacks. A sink commits whole segments, so `offset`
// is a boundary. The exception is a table that was switched off while its neighbour was not: it
// stands inside a segment, which is lost to it and which its ledger says is lost.
std::span<const Segment> SegmentsFrom(std::span<const Segment> segments, Offset offset);
void AddCounts(const SourcePartition& partition, std::span<const Segment> segments,
               Millis window_size, std::vector<CountIncrement>& into);
void AddLedger(const SourcePartition& partition, std::span<const Segment> segments,
               std::vector<LedgerIncrement>& into);

// Where the tables stand. They may be at different offsets, because they are committed one after
// the other.
struct TableOffsets {
  Offset counts, ledger;
};
// Reads `run` when a query needs it, and keeps its pin.
std::shared_ptr<const PendingPart> PartOf(std::shared_ptr<const PinnedRun> run,
                                          const TableOffsets& from, Millis window_size);
// In another process: `reference` is Reference() of such a part. The file stays pinned as long as
// the part lives there.
Result<std::shared_ptr<const PendingPart>> OpenRunPart(std::string_view reference);

}  // namespace sightline
