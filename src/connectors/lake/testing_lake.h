// For tests that write a lake as tasks do: segments of artificial counts, and the sinks that take
// them. What must succeed in every test is checked here.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/lake/log.h"
#include "connectors/lake/table_rows.h"
#include "connectors/lake/testing.h"
#include "connectors/lake/verify.h"

namespace sightline::lake {

constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kToday = 20'000 * kDayMs;  // 2024-10-04

inline SourcePartition Partition(int32_t number) { return {"log/raw", number}; }

// Each offset counts one item, `days_ago`, in the location with the offset's number.
inline Segment Make(int64_t first, int64_t next, int64_t days_ago = 0, int64_t locations = 2) {
  Segment segment{.first = {first}, .next = {next}};
  Ledger ledger;
  for (int64_t offset = first; offset < next; ++offset) {
    const EventTime time{kToday - days_ago * kDayMs + offset % 86'000 * 1000};
    MergeCounts(segment.counts, {{.key = {.pane_start = WindowStart(time, {10'000}),
                                          .location = {offset % locations},
                                          .item = "car"},
                                  .count = 1,
                                  .first_detected = time,
                                  .last_detected = time}});
    ++ledger.received;
    ++ledger.outcomes[0];
  }
  segment.ledger = {{.key = {.hour = {0}}, .ledger = ledger}};
  return segment;
}

class TestLake {
 protected:
  std::unique_ptr<LakeWriter> Open(LakeWriterOptions options = {}) {
    if (options.linger == Millis{200}) options.linger = {0};
    return LakeWriter::Open(storage_, clock_, std::move(options)).value();
  }
  static std::unique_ptr<Sink> Owner(LakeWriter& writer, const SourcePartition& partition,
                                     int64_t epoch = 1) {
    auto sink = writer.OpenSink(nullptr);
    CHECK(lake_testing::Settle([&] { return sink->Fence(partition, {epoch}); }).ok());
    return sink;
  }
  static Result<Offset> Commit(Sink& sink, const std::vector<Segment>& segments,
                               const SourcePartition& partition = Partition(0)) {
    return lake_testing::Settle([&] { return sink.Commit(partition, segments); });
  }
  // Writes both tables, with one commit per segment.
  void Fill(const std::vector<Segment>& segments, Layout layout = Layout::kByLocation) {
    for (const std::string_view table : {kIncrementsTable, kLedgerTable}) {
      const auto writer = Open({.table = std::string(table), .layout = layout});
      const auto sink = Owner(*writer, Partition(0));
      for (const Segment& segment : segments) CHECK(Commit(*sink, {segment}).ok());
    }
  }
  int64_t Sum() { return SumOf(storage_); }
  static int64_t SumOf(Storage& storage) {
    int64_t sum = 0;
    const SnapshotPtr snapshot = ReadSnapshot(storage, kIncrementsTable).value();
    const Status read =
        ForEachWriteBatch(storage, kIncrementsTable, *snapshot, [&](WriteBatch&& batch) {
          for (const CountRow& row : batch.windows) sum += row.count;
        });
    CHECK(read.ok());
    return sum;
  }
  // What Verify() finds, as lines; empty if the lake is clean.
  static std::string DamageOf(Storage& storage) {
    const VerifyReport report = Verify(storage, nullptr).value();
    std::string lines;
    for (const Finding& finding : report.findings)
      lines += finding.table + " " + finding.object + ": " + finding.what + "\n";
    return lines;
  }

  lake_testing::TestStorage storage_;
  ManualClock clock_{kToday + 43'200'000};
};

}  // namespace sightline::lake
