// Drives the lake from outside: the program that tests/lake/lake_test.py kills, races and compares.
//
//   lake_writer write ROOT UNTIL SEED [engine]   writes both tables, as tasks would, up to offset
//   UNTIL lake_writer oracle UNTIL                     prints what `write` must have counted
//   lake_writer sums ROOT                        prints the table's content, with our own reader
//   lake_writer compact|vacuum|checkpoint|describe|files ROOT TABLE
//   lake_writer verify ROOT                      prints findings; exit code 1 if there are any
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/clock.h"
#include "connectors/lake/checkpoint.h"
#include "connectors/lake/describe.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/lake/log.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/table_rows.h"
#include "connectors/lake/verify.h"
#include "connectors/storage/local_storage.h"
#include "stream.h"

namespace sightline {
namespace {

using lake_testing::Stream;

int64_t Number(const std::string& text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

[[noreturn]] void Fail(const Status& status) {
  fmt::print(stderr, "lake_writer: {}\n", status.message());
  // _exit(), not exit(): the writers' threads are still running and would meet destroyed statics.
  std::_Exit(status.code() == StatusCode::kRebuild ? 3 : 2);
}
template <typename T>
T Get(Result<T> result) {
  if (!result.ok()) Fail(result.status());
  return std::move(result).value();
}

// The sink of one task: it fences, and then commits segments of random sizes until the end.
struct Task {
  std::unique_ptr<Sink> sink;
  int32_t partition = 0;
  enum { kFence, kRun, kDone } phase = kFence;
  int64_t next = 0;
  std::vector<Segment> offered;
};

void Step(Task& task, const Stream& stream, int64_t until, std::mt19937_64& random) {
  const SourcePartition partition = stream.Partition(task.partition);
  if (task.phase == Task::kFence) {
    const Status fenced = task.sink->Fence(partition, {1});
    if (fenced.code() == StatusCode::kRetry) return;
    if (!fenced.ok()) Fail(fenced);
    task.next = std::max<int64_t>(0, Get(task.sink->Committed(partition)).v);
    task.phase = Task::kRun;
  }
  if (task.phase == Task::kRun && task.next >= until) task.phase = Task::kDone;
  if (task.phase == Task::kDone) return;
  if (task.offered.empty())
    for (int64_t first = task.next; first < until && task.offered.size() < 3;) {
      const int64_t next = std::min(until, first + 1 + static_cast<int64_t>(random() % 200));
      task.offered.push_back(stream.Make(task.partition, first, next));
      first = next;
    }
  const Result<Offset> committed = task.sink->Commit(partition, task.offered);
  if (committed.status().code() == StatusCode::kRetry) return;
  task.next = Get(committed).v;
  task.offered.clear();
}

// The test changes the layout in the middle of the stream.
int64_t MaxPartitions() {
  const char* given = getenv("SIGHTLINE_TEST_MAX_PARTITIONS");
  return given == nullptr ? lake::kMaxPartitions : std::stoll(given);
}

int Write(const std::string& root, int64_t until, int64_t seed, const std::string& engine) {
  const Stream stream;
  LocalStorage storage(root);
  const SystemClock clock;
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  std::vector<std::unique_ptr<lake::LakeWriter>> writers;
  std::vector<Task> tasks;
  for (const std::string_view table : {lake::kIncrementsTable, lake::kLedgerTable}) {
    writers.push_back(Get(lake::LakeWriter::Open(storage, clock,
                                                 {.table = std::string(table),
                                                  .max_partitions = MaxPartitions(),
                                                  .linger = {1},
                                                  .checkpoint_commits = 10,
                                                  .engine = engine})));
    for (int32_t partition = 0; partition < stream.partitions; ++partition)
      tasks.push_back({.sink = writers.back()->OpenSink(nullptr), .partition = partition});
  }
  const auto done = [](const Task& task) { return task.phase == Task::kDone; };
  while (!std::all_of(tasks.begin(), tasks.end(), done)) {
    for (Task& task : tasks) Step(task, stream, until, random);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  tasks.clear();
  return 0;
}

using Sums = std::map<std::tuple<int64_t, int64_t, std::string>, int64_t>;

void Print(const Sums& sums) {
  for (const auto& [key, count] : sums) {
    const auto& [location, window, item] = key;
    std::string hex;
    for (const char c : item) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    fmt::print("{} {} {} {}\n", location, window, hex, count);
  }
}

int Oracle(int64_t until) {
  const Stream stream;
  Sums sums;
  constexpr int64_t kPiece = 500;
  for (int32_t partition = 0; partition < stream.partitions; ++partition)
    for (int64_t first = 0; first < until; first += kPiece) {
      const Segment piece = stream.Make(partition, first, std::min(until, first + kPiece));
      for (const CountRow& row : piece.counts)
        sums[{row.key.location.v, WindowStart(row.key.pane_start, {60'000}).v, row.key.item}] +=
            row.count;
    }
  Print(sums);
  return 0;
}

int PrintSums(const std::string& root) {
  LocalStorage storage(root);
  const auto snapshot = Get(lake::ReadSnapshot(storage, lake::kIncrementsTable));
  Sums sums;
  const Status read = lake::ForEachWriteBatch(
      storage, lake::kIncrementsTable, *snapshot, [&](lake::WriteBatch&& batch) {
        for (const CountRow& row : batch.windows)
          sums[{row.key.location.v, row.key.pane_start.v, row.key.item}] += row.count;
      });
  if (!read.ok()) Fail(read);
  Print(sums);
  return 0;
}

int Verify(const std::string& root) {
  LocalStorage storage(root);
  const lake::VerifyReport report = Get(lake::Verify(storage, nullptr));
  for (const lake::VerifiedTable& table : report.tables)
    fmt::print("{} version {}: {} files, {} rows\n", table.name, table.version, table.files,
               table.rows);
  fmt::print("item_count {} counted {} notes {}\n", report.item_count, report.counted,
             report.notes.size());
  for (const lake::Finding& finding : report.findings)
    fmt::print("DAMAGE {}: {}: {}\n", finding.table, finding.object, finding.what);
  return report.clean() ? 0 : 1;
}

int Maintain(const std::string& command, const std::string& root, const std::string& table) {
  LocalStorage storage(root);
  const SystemClock clock;
  if (command == "compact") {
    const auto done = Get(lake::Compact(storage, clock, table, {.all_days = true}));
    fmt::print("{} files to {}, {} retries\n", done.files_before, done.files_after, done.retries);
  } else if (command == "vacuum") {
    const auto done = Get(lake::Vacuum(storage, table, {.retention = {0}}));
    fmt::print("{} files deleted\n", done.files);
  } else if (command == "checkpoint") {
    const auto snapshot = Get(lake::ReadSnapshot(storage, table));
    const Status status = lake::WriteCheckpoint(storage, table, *snapshot, clock.NowMs());
    if (!status.ok()) Fail(status);
  } else if (command == "files") {
    const auto snapshot = Get(lake::ReadSnapshot(storage, table));
    for (const auto& file : lake::ListFiles(table, *snapshot)) fmt::print("{}\n", file.path);
  } else if (command == "describe") {
    const auto snapshot = Get(lake::ReadSnapshot(storage, table));
    const auto facts = lake::Describe(table, *snapshot);
    fmt::print("version {} files {} rows {} history {}\n", facts.version, facts.files, facts.rows,
               Get(lake::History(storage, table, 1'000'000)).size());
  } else {
    return 2;
  }
  return 0;
}

int Main(const std::vector<std::string>& words) {
  const std::string command = words.empty() ? "" : words[0];
  if (command == "write" && words.size() >= 4)
    return Write(words[1], Number(words[2]), Number(words[3]),
                 words.size() > 4 ? words[4] : "embedded");
  if (command == "oracle" && words.size() == 2) return Oracle(Number(words[1]));
  if (command == "sums" && words.size() == 2) return PrintSums(words[1]);
  if (command == "verify" && words.size() == 2) return Verify(words[1]);
  if (words.size() == 3) return Maintain(command, words[1], words[2]);
  fmt::print(stderr, "lake_writer: see the head of tests/lake/lake_writer_main.cc\n");
  return 2;
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) { return sightline::Main({argv + 1, argv + argc}); }
