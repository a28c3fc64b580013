// The lake's writer and log: rows a second, time of a commit, time to open a long log. Results are
// checked; prints a line a figure. Files lie in memory (/dev/shm) where there is one: a disk's
// fsync comes on top.
#include <fmt/format.h>

#include <chrono>
#include <string>
#include <vector>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/lake/log.h"
#include "connectors/lake/testing.h"

namespace sightline {
namespace {

using lake_testing::Settle;
using lake_testing::TestStorage;

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// A segment of `locations` x 50 items in one window.
Segment Minute(int64_t number, int64_t locations) {
  Segment segment{.first = {number}, .next = {number + 1}};
  const EventTime start{1'795'305'600'000 + number * 60'000};
  for (int64_t location = 0; location < locations; ++location)
    for (int item = 0; item < 50; ++item)
      segment.counts.push_back({.key = {.pane_start = start,
                                        .location = {location},
                                        .item = fmt::format("item {:02}", item)},
                                .count = 7,
                                .first_detected = start,
                                .last_detected = start});
  return segment;
}

void Write(int64_t locations) {
  constexpr int64_t kCommits = 30;
  TestStorage storage;
  const SystemClock clock;
  const SourcePartition partition{"log/raw", 0};
  auto writer = std::move(lake::LakeWriter::Open(storage, clock, {.gather = {0}})).value();
  const auto sink = writer->OpenSink(nullptr);
  CHECK(Settle([&] { return sink->Fence(partition, {1}); }).ok());
  std::vector<Segment> segments;
  for (int64_t i = 0; i < kCommits; ++i) segments.push_back(Minute(i, locations));
  const auto start = std::chrono::steady_clock::now();
  for (const Segment& segment : segments)
    CHECK(Settle([&] { return sink->Commit(partition, {&segment, 1}); }).ok());
  const double ms = MsSince(start);
  CHECK(writer->stats().rows == kCommits * locations * 50);
  fmt::print("write {} locations: {:.1f} ms a commit, {:.0f} rows/s, {} files\n", locations,
             ms / kCommits, static_cast<double>(writer->stats().rows) / ms * 1000,
             writer->stats().files);
}

void OpenLongLog(int64_t commits) {
  TestStorage storage;
  const SystemClock clock;
  const std::string table(lake::kIncrementsTable);
  lake::SnapshotPtr snapshot =
      lake::OpenOrCreate(storage, clock, lake::IncrementsSpec(lake::Layout::kByLocation)).value();
  const std::string stats =
      R"({"numRecords":50,"minValues":{"item_name":"bus"},"maxValues":{"item_name":"car"},"nullCount":{"item_name":0}})";
  double checkpoint_ms = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 1; i <= commits; ++i) {
    const lake::AddFile file{
        .path = fmt::format("geographical_location_oid=1/date=2026-11-22/part-{}.parquet", i),
        .partition_values = {{"date", "2026-11-22"}, {"geographical_location_oid", "1"}},
        .size_bytes = 5000,
        .stats = stats};
    const auto result = lake::CommitChange(
        storage, clock, table, snapshot, [&](const lake::Snapshot&) -> Result<lake::Change> {
          return lake::Change{.operation = "WRITE", .adds = {file}};
        });
    CHECK(result.status.ok());
    snapshot = result.snapshot;
    if (i % 100 != 0 || i == commits) continue;
    const auto begun = std::chrono::steady_clock::now();
    CHECK(lake::WriteCheckpoint(storage, table, *snapshot, clock.NowMs()).ok());
    checkpoint_ms = MsSince(begun);
  }
  fmt::print("{} commits: {:.2f} ms each with checkpoints, the last checkpoint {:.0f} ms\n",
             commits, MsSince(start) / static_cast<double>(commits), checkpoint_ms);
  for (int round = 0; round < 3; ++round) {
    const auto begun = std::chrono::steady_clock::now();
    const auto opened = lake::ReadSnapshot(storage, table).value();
    fmt::print("open {} commits, {} files: {:.0f} ms\n", commits, opened->files.size(),
               MsSince(begun));
    CHECK(opened->version.v == commits);
    CHECK(static_cast<int64_t>(opened->files.size()) == commits);
  }
}

}  // namespace
}  // namespace sightline

int main() {
  sightline::Write(10);
  sightline::Write(200);
  sightline::OpenLongLog(10'000);
}
