// An artificial stream whose segments can be computed anywhere, however it is divided: the oracle
// of the lake's tests. Offset n of partition p always adds the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/segment.h"
#include "model/types.h"

namespace sightline::lake_testing {

struct Stream {
  int32_t partitions = 2;
  int64_t locations = 3;
  EventTime start{1'795'305'600'000};  // 2026-11-22T00:00:00Z

  SourcePartition Partition(int32_t partition) const {
    return {"embedded:0123456789abcdef/raw_camera_events", partition};
  }
  // Every seventh offset is a duplicate. Every offset is a second later than the one before it.
  Segment Make(int32_t partition, int64_t first, int64_t next) const {
    static const std::vector<std::string> kItems = {
        "car", "bus", "Fußgänger", "a\"b\\c\n\t'; DROP", "../../etc/passwd", "truck%2F\u0001"};
    Segment segment{.first = {first}, .next = {next}, .watermark = {start.v + next * 1000}};
    for (int64_t offset = first; offset < next; ++offset) {
      const auto mixed = static_cast<uint64_t>(offset * 2654435761 + partition * 40503 + 12345);
      const EventTime time{start.v + offset * 1000 + static_cast<int64_t>(mixed % 997)};
      const LocationId location{static_cast<int64_t>(mixed / 7 % locations) - 1};
      const bool duplicate = offset % 7 == 0;
      LedgerRow row{.key = {.location = location,
                            .camera = {location.v * 10},
                            .hour = {WindowStart(time, {3'600'000}).v}}};
      row.ledger.received = 1;
      const Outcome outcome = duplicate ? Outcome::kDuplicate : Outcome::kCounted;
      row.ledger.outcomes[static_cast<size_t>(outcome)] = 1;
      MergeLedger(segment.ledger, {row});
      if (duplicate) continue;
      MergeCounts(segment.counts, {{.key = {.pane_start = WindowStart(time, {10'000}),
                                            .location = location,
                                            .item = kItems[mixed / 11 % kItems.size()]},
                                    .count = 1,
                                    .first_detected = time,
                                    .last_detected = time}});
    }
    return segment;
  }
};

}  // namespace sightline::lake_testing
