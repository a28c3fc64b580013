// Measures the lake's writer and log, and checks the results. Each command prints one JSON object.
//
//   lake_bench write DIRECTORY LOCATIONS   writes 30 commits of LOCATIONS x 50 rows to a new lake
//   lake_bench make_log DIRECTORY COMMITS  writes a table with that many live files (none exists)
//   lake_bench open DIRECTORY COMMITS      reads the log of that table
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "connectors/lake/checkpoint.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/lake/log.h"
#include "connectors/storage/local_storage.h"

namespace sightline {
namespace {

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// Calls until the answer is not "try again": a disk may be slow.
template <typename Call>
auto Settle(const Call& call) {
  while (true) {
    auto answer = call();
    bool retry = false;
    if constexpr (std::is_same_v<decltype(answer), Status>) {
      retry = answer.code() == StatusCode::kRetry;
    } else {
      retry = answer.status().code() == StatusCode::kRetry;
    }
    if (!retry) return answer;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
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

void Write(const std::string& directory, int64_t locations) {
  constexpr int64_t kCommits = 30;
  LocalStorage storage(directory);
  const SystemClock clock;
  const SourcePartition partition{"log/raw", 0};
  auto writer = std::move(lake::LakeWriter::Open(storage, clock, {.linger = {0}})).value();
  const auto sink = writer->OpenSink(nullptr);
  CHECK(Settle([&] { return sink->Fence(partition, {1}); }).ok());
  std::vector<Segment> segments;
  for (int64_t i = 0; i < kCommits; ++i) segments.push_back(Minute(i, locations));
  const auto start = std::chrono::steady_clock::now();
  for (const Segment& segment : segments)
    CHECK(Settle([&] { return sink->Commit(partition, {&segment, 1}); }).ok());
  const double ms = MsSince(start);
  CHECK(writer->stats().rows == kCommits * locations * 50);
  fmt::print(R"({{"ms_per_commit":{},"rows_per_second":{},"files":{}}})"
             "\n",
             ms / kCommits, static_cast<double>(writer->stats().rows) / ms * 1000,
             writer->stats().files);
}

void MakeLog(const std::string& directory, int64_t commits) {
  LocalStorage storage(directory);
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
  fmt::print(R"({{"ms_per_commit":{},"last_checkpoint_ms":{}}})"
             "\n",
             MsSince(start) / static_cast<double>(commits), checkpoint_ms);
}

void OpenLog(const std::string& directory, int64_t commits) {
  LocalStorage storage(directory);
  const auto start = std::chrono::steady_clock::now();
  const auto opened = lake::ReadSnapshot(storage, lake::kIncrementsTable).value();
  const double ms = MsSince(start);
  CHECK(opened->version.v == commits);
  CHECK(static_cast<int64_t>(opened->files.size()) == commits);
  fmt::print("{{\"ms\":{}}}\n", ms);
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) {
  const std::string command = argc == 4 ? argv[1] : "";
  const int64_t number = argc == 4 ? std::atoll(argv[3]) : 0;
  if (command == "write") {
    sightline::Write(argv[2], number);
  } else if (command == "make_log") {
    sightline::MakeLog(argv[2], number);
  } else if (command == "open") {
    sightline::OpenLog(argv[2], number);
  } else {
    fmt::print(stderr, "lake_bench: see the head of bench/lake_bench.cc\n");
    return 2;
  }
  return 0;
}
