// Measures what many locations cost the lake: one roll on a disk or an HDFS, and a whole day by a
// simulated clock. Results are checked. Each command prints one JSON object.
//
//   lake_small_files roll URL NAMENODE LOCATIONS LAYOUT   rolls of LOCATIONS x 50 items x windows
//       URL: a folder that is empty, or hdfs://bench/path; NAMENODE: of bench, http://host:port.
//       LAYOUT: location (1 window a roll) or bucket (5 windows a roll). The limit is the same
//       storage's time to put as many files of the same sizes without any content of meaning.
//   lake_small_files day DIRECTORY LOCATIONS MINUTES      the first MINUTES of a day
//       Every location has 50 items in every minute. Both tables are written by the real writer and
//       packed by the real compaction once an hour, and when the day is over.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/lake/log.h"
#include "connectors/lake/maintenance.h"
#include "connectors/storage/open_storage.h"

namespace sightline {
namespace {

constexpr int64_t kMinuteMs = 60'000, kDayMs = 86'400'000;
constexpr int64_t kDay = 20'000 * kDayMs;
constexpr int kItems = 50;
const SourcePartition kPartition{"log/raw", 0};

double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// Calls until the answer is not "under way".
template <typename Call>
void Settle(const Call& call) {
  while (true) {
    const auto answer = call();
    if (answer.ok()) return;
    CHECK(answer.code() == StatusCode::kRetry);
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

// What one roll adds: `minutes` windows from `first_minute` of the day on, in every location.
Segment Roll(int64_t first_minute, int64_t minutes, int64_t locations) {
  Segment segment{.first = {first_minute}, .next = {first_minute + minutes}};
  for (int64_t location = 0; location < locations; ++location) {
    Ledger ledger;
    for (int64_t minute = first_minute; minute < first_minute + minutes; ++minute)
      for (int item = 0; item < kItems; ++item) {
        const EventTime start{kDay + minute * kMinuteMs};
        // Counts and times that look like those of cameras: hard to compress.
        const size_t noise = std::hash<LocationId>()({(location * 64 + item) * 4096 + minute});
        const auto count = static_cast<int64_t>(noise % 9 + 1);
        segment.counts.push_back(
            {.key = {.pane_start = start,
                     .location = {location},
                     .item = fmt::format("item {:02}", item)},
             .count = count,
             .first_detected = start + Millis{static_cast<int64_t>(noise >> 40) % 30'000},
             .last_detected =
                 start + Millis{30'000 + static_cast<int64_t>(noise >> 16 & 0xFFFFFF) % 30'000}});
        ledger.received += count;
        ledger.outcomes[0] += count;
      }
    segment.ledger.push_back({.key = {.known = true,
                                      .location = {location},
                                      .camera = {location},
                                      .hour = {kDay + first_minute / 60 * 60 * kMinuteMs}},
                              .ledger = ledger});
  }
  return segment;
}

// A table and its only task.
class Table {
 public:
  Table(Storage& storage, const Clock& clock, std::string_view name, lake::Layout layout)
      : writer_(std::move(lake::LakeWriter::Open(storage, clock,
                                                 {.table = std::string(name),
                                                  .layout = layout,
                                                  .max_partitions = INT64_MAX,
                                                  .linger = {0}}))
                    .value()),
        sink_(writer_->OpenSink(nullptr)) {
    Settle([&] { return sink_->Fence(kPartition, {1}); });
  }
  void Commit(const Segment& segment) {
    Settle([&] { return sink_->Commit(kPartition, {&segment, 1}).status(); });
  }
  lake::LakeWriterStats stats() const { return writer_->stats(); }
  lake::SnapshotPtr current() const { return writer_->current(); }

 private:
  std::unique_ptr<lake::LakeWriter> writer_;
  std::unique_ptr<Sink> sink_;
};

// Puts as many files of the same sizes as the table has.
double LimitMs(Storage& storage, const lake::Snapshot& snapshot, int64_t rolls) {
  std::vector<std::string> contents;
  snapshot.files.ForEach([&](const lake::FilePtr& file) {
    contents.emplace_back(static_cast<size_t>(file->size_bytes), 'x');
  });
  const size_t at_once = contents.size() / static_cast<size_t>(rolls);
  const auto start = std::chrono::steady_clock::now();
  for (size_t first = 0; first < contents.size(); first += at_once) {
    std::vector<NewFile> files;
    for (size_t i = first; i < std::min(first + at_once, contents.size()); ++i)
      files.push_back({fmt::format("limit/{}", i), contents[i]});
    CHECK(storage.PutFiles(files, PutMode::kReplace).ok());
  }
  return MsSince(start) / static_cast<double>(rolls);
}

void RunRoll(const std::string& url, const std::string& namenode, int64_t locations,
             lake::Layout layout) {
  constexpr int64_t kRolls = 5;
  const int64_t minutes = layout == lake::Layout::kByBucket ? 5 : 1;
  const auto storage =
      std::move(OpenStorage(url, {.hdfs = {{"bench", {.namenodes = {namenode}, .user = "bench"}}}}))
          .value();
  const SystemClock clock;
  Table table(*storage, clock, lake::kIncrementsTable, layout);
  std::vector<double> times;
  for (int64_t roll = 0; roll < kRolls; ++roll) {
    const Segment segment = Roll(roll * minutes, minutes, locations);
    const auto start = std::chrono::steady_clock::now();
    table.Commit(segment);
    times.push_back(MsSince(start));
  }
  const lake::LakeWriterStats stats = table.stats();
  CHECK(stats.rows == kRolls * minutes * locations * kItems);
  const double limit_ms = LimitMs(*storage, *table.current(), kRolls);
  std::sort(times.begin(), times.end());
  const double median = times[kRolls / 2];
  fmt::print(R"({{"ms_per_roll":{:.1f},"ms_max":{:.1f},"rows_per_second":{:.0f},)"
             R"("files_per_roll":{},"bytes_per_roll":{},"limit_ms":{:.1f}}})"
             "\n",
             median, times.back(), static_cast<double>(stats.rows) / kRolls / median * 1000,
             stats.files / kRolls, stats.bytes / kRolls, limit_ms);
}

// The calls on a storage, by operation.
struct Calls {
  double read = 0, put = 0, list = 0, stat = 0, erase = 0, put_bytes = 0;

  static Calls Of(const StorageMetrics& metrics) {
    Calls calls;
    for (const Metric& metric : metrics.Metrics()) {
      const std::string& operation = metric.labels[0].second;
      if (metric.name == "sightline_lake_storage_bytes_total" && operation == "put")
        calls.put_bytes = metric.value;
      if (metric.name != "sightline_lake_storage_calls_total") continue;
      (operation == "read"   ? calls.read
       : operation == "put"  ? calls.put
       : operation == "list" ? calls.list
       : operation == "stat" ? calls.stat
                             : calls.erase) = metric.value;
    }
    return calls;
  }
  // On HDFS: a read and a put are redirected, a put is renamed into its place.
  double requests() const { return 2 * read + 4 * put + list + stat + erase; }
  std::string Json() const {
    return fmt::format(
        R"({{"puts":{},"put_bytes":{},"reads":{},"lists":{},"other":{},"hdfs_requests":{}}})", put,
        put_bytes, read, list, stat + erase, requests());
  }
};

struct Size {
  int64_t files = 0, bytes = 0;
};
Size SizeOf(Storage& storage, std::string_view table) {
  Size size;
  lake::ReadSnapshot(storage, table).value()->files.ForEach([&](const lake::FilePtr& file) {
    ++size.files;
    size.bytes += file->size_bytes;
  });
  return size;
}

// What one minute costs if each window of each location is a file of its own.
Calls FilePerWindow(const std::string& directory, int64_t locations) {
  StorageMetrics metrics;
  const auto storage = std::move(OpenStorage(directory, {.metrics = &metrics})).value();
  const ManualClock clock(kDay);
  Table table(*storage, clock, lake::kIncrementsTable, lake::Layout::kByLocation);
  const Calls before = Calls::Of(metrics);
  table.Commit(Roll(0, 1, locations));
  Calls calls = Calls::Of(metrics);
  calls.put -= before.put;
  calls.put_bytes -= before.put_bytes;
  calls.read -= before.read;
  calls.list -= before.list;
  calls.stat -= before.stat;
  return calls;
}

void RunDay(const std::string& directory, int64_t locations, int64_t minutes) {
  constexpr int64_t kRollMinutes = 5;
  StorageMetrics metrics;
  const auto storage = std::move(OpenStorage(directory + "/day", {.metrics = &metrics})).value();
  ManualClock clock(kDay);
  const auto compact = [&] {
    for (const std::string_view table : {lake::kIncrementsTable, lake::kLedgerTable})
      CHECK(lake::Compact(*storage, clock, table, {}).ok());
  };
  int64_t files_max = 0, commits = 0, rows = 0;
  {
    Table counts(*storage, clock, lake::kIncrementsTable, lake::Layout::kByBucket);
    Table ledger(*storage, clock, lake::kLedgerTable, lake::Layout::kByLocation);
    for (int64_t minute = 0; minute < minutes; minute += kRollMinutes) {
      const Segment segment = Roll(minute, kRollMinutes, locations);
      clock.Set(kDay + (minute + kRollMinutes) * kMinuteMs);
      counts.Commit(segment);
      ledger.Commit(segment);
      files_max = std::max(files_max, static_cast<int64_t>(counts.current()->files.size()));
      if ((minute + kRollMinutes) % 60 == 0) compact();
    }
    commits = counts.stats().commits;
    rows = counts.stats().rows;
  }
  CHECK(rows == minutes / kRollMinutes * kRollMinutes * locations * kItems);
  clock.Set(kDay + kDayMs);  // the day is over, also if it was cut short
  compact();
  const Size packed = SizeOf(*storage, lake::kIncrementsTable);
  const Calls all = Calls::Of(metrics);
  const Calls window = FilePerWindow(directory + "/window", locations);
  const auto times = static_cast<double>(minutes);
  fmt::print(
      R"({{"rows":{},"commits":{},"files_max":{},"files_packed":{},"bytes_packed":{},"calls":{},)"
      R"("file_per_window":{{"files":{},"bytes":{:.0f},"hdfs_requests":{:.0f}}}}})"
      "\n",
      rows, commits, files_max, packed.files, packed.bytes, all.Json(), locations * minutes,
      window.put_bytes * times, window.requests() * times);
}

int Main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  if (command == "roll" && argc == 6) {
    RunRoll(argv[2], argv[3], std::atoll(argv[4]),
            std::string_view(argv[5]) == "bucket" ? lake::Layout::kByBucket
                                                  : lake::Layout::kByLocation);
  } else if (command == "day" && argc == 5) {
    RunDay(argv[2], std::atoll(argv[3]), std::atoll(argv[4]));
  } else {
    fmt::print(stderr, "lake_small_files: see the head of bench/lake_small_files.cc\n");
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) { return sightline::Main(argc, argv); }
