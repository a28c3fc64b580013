// WriteBatch: what consecutive segments add to one table, while it waits to be written.
#pragma once

#include <span>
#include <vector>

#include "model/segment.h"
#include "model/types.h"

namespace sightline::lake {

struct WriteBatch {
  SourcePartition partition;
  Offset first, next;
  // For item_count_increments: `pane_start` is the start of the row's window. Sorted by location,
  // window, item and kind; each key occurs once.
  std::vector<CountRow> windows;
  std::vector<LedgerRow> ledger;  // for the ledger
};

// Sums panes into windows of `window_size`. `segments` are consecutive. O(rows log rows).
WriteBatch ToIncrements(const SourcePartition& partition, std::span<const Segment> segments,
                        Millis window_size);
WriteBatch ToLedger(const SourcePartition& partition, std::span<const Segment> segments);

}  // namespace sightline::lake
