#include "connectors/lake/write_batch.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace sightline::lake {
namespace {

auto OrderOf(const CountRow& row) {
  return std::tie(row.key.location, row.key.pane_start, row.key.item, row.key.kind);
}

WriteBatch Covering(const SourcePartition& partition, std::span<const Segment> segments) {
  CHECK(!segments.empty());
  return {.partition = partition, .first = segments.front().first, .next = segments.back().next};
}

}  // namespace

WriteBatch ToIncrements(const SourcePartition& partition, std::span<const Segment> segments,
                        Millis window_size) {
  WriteBatch batch = Covering(partition, segments);
  for (const Segment& segment : segments)
    for (const CountRow& row : segment.counts) {
      batch.windows.push_back(row);
      EventTime& start = batch.windows.back().key.pane_start;
      // A pane lies in exactly one window, because pane_size divides window_size.
      start = WindowStart(start, window_size);
    }
  std::vector<CountRow>& rows = batch.windows;
  std::sort(rows.begin(), rows.end(),
            [](const CountRow& a, const CountRow& b) { return OrderOf(a) < OrderOf(b); });
  // Adds up equal keys in place: a window has several panes.
  size_t kept = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (kept > 0 && rows[kept - 1].key == rows[i].key) {
      CountRow& into = rows[kept - 1];
      into.count += rows[i].count;
      into.first_detected = std::min(into.first_detected, rows[i].first_detected);
      into.last_detected = std::max(into.last_detected, rows[i].last_detected);
    } else {
      if (kept != i) rows[kept] = std::move(rows[i]);
      ++kept;
    }
  }
  rows.resize(kept);
  return batch;
}

WriteBatch ToLedger(const SourcePartition& partition, std::span<const Segment> segments) {
  WriteBatch batch = Covering(partition, segments);
  for (const Segment& segment : segments)
    MergeLedger(batch.ledger, std::vector<LedgerRow>(segment.ledger));
  return batch;
}

}  // namespace sightline::lake
