// Measures `top` for one location and day over a lake of many files, against plain DuckDB.
//
//   query_bench [days 365] [locations 1000] [questions 200] [COMMAND]
//
// With COMMAND (a rival), only `top` is measured here. A delta log is then written beside the
// files, and `COMMAND TABLE QUESTIONS` runs. QUESTIONS is a file of lines
// `location date item count...`.
//
// There is one file for each location and day. Only the files that will be asked for have rows of
// their own (14,400: 1,440 minutes x 10 items). All others are one file under many names, whose
// counts would spoil any sum that touched them. Every answer is checked. Prints milliseconds.
#include <duckdb.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/clock.h"
#include "connectors/lake/checkpoint.h"
#include "connectors/lake/tables.h"
#include "connectors/storage/local_storage.h"
#include "query/test_lake.h"

using namespace sightline;  // NOLINT: a program of its own

namespace {

constexpr int64_t kMinutes = 1440, kItems = 10;

double Now() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Question {
  int64_t location, day;
};

std::string FormatDayOf(int64_t day) { return FormatDay(DayOf({kNewYear.v + day * kDayMs})); }

// Item i of a question has i + location % 7 + 1 a minute: the largest index wins.
int64_t CountOf(const Question& question, int64_t item) {
  return item + question.location % 7 + question.day % 3 + 1;
}

void Fill(TestLake& lake, int64_t days, int64_t locations, const std::vector<Question>& questions) {
  lake.WriteCounts({Increment(0, "another file was read", 0, 1'000'000'000)});
  const LakeFile* other = lake.state.counts_files.Select({})[0];
  const std::string other_path = lake.state.counts_files.AbsolutePath(*other);
  std::vector<LakeFile> files;
  for (int64_t location = 1; location <= locations; ++location) {
    for (int64_t day = 0; day < days; ++day) {
      files.push_back({.path = fmt::format("geographical_location_oid={}/date={}/part-0.parquet",
                                           location, FormatDayOf(day)),
                       .location = LocationId{location},
                       .day = DayOf({kNewYear.v + day * kDayMs})});
      const std::filesystem::path path = lake.state.counts_files.AbsolutePath(files.back());
      std::filesystem::create_directories(path.parent_path());
      std::filesystem::create_hard_link(other_path, path);
    }
  }
  std::vector<LakeFile> replaced;
  for (const Question& question : questions) {
    const auto at = static_cast<size_t>((question.location - 1) * days + question.day);
    replaced.push_back(files[at]);
  }
  const double start = Now();
  lake.state.counts_files = FileList(lake.state.counts_files.root(), std::move(files));
  fmt::print("{:<58} {:9.1f}\n", fmt::format("index of {} files", lake.state.counts_files.size()),
             Now() - start);
  lake.state.counts_files = lake.state.counts_files.With({}, replaced);
  for (const LakeFile& file : replaced) {
    std::filesystem::remove(lake.state.counts_files.AbsolutePath(file));
  }
  for (const Question& question : questions) {
    std::vector<CountIncrement> rows;
    for (int64_t minute = 0; minute < kMinutes; ++minute) {
      for (int64_t item = 0; item < kItems; ++item) {
        rows.push_back(Increment(question.location, fmt::format("item{}", item),
                                 question.day * kMinutes + minute, CountOf(question, item)));
      }
    }
    lake.WriteCounts(rows);
  }
}

std::string Expected(const Question& question) {
  std::string expected;
  for (int64_t item = kItems - 1; item >= 0; --item) {
    expected += fmt::format("item{} {}\n", item, kMinutes * CountOf(question, item));
  }
  return expected;
}

std::string Items(Result<ResultTable> table, size_t item_column) {
  if (!table.ok()) return table.status().message();
  std::string text;
  Result<std::vector<Row>> rows = ReadAll(table.value());
  if (!rows.ok()) return rows.status().message();
  for (const Row& row : rows.value()) {
    text += fmt::format("{} {}\n", std::get<std::string>(row[item_column]),
                        std::get<int64_t>(row[item_column + 1]));
  }
  return text;
}

// Prints p50 and p99 of asking each question; exits when an answer is wrong.
void Measure(const char* name, const std::vector<Question>& questions,
             const std::function<std::string(const Question&)>& ask) {
  std::vector<double> times;
  for (const Question& question : questions) {
    const double start = Now();
    const std::string answer = ask(question);
    times.push_back(Now() - start);
    if (answer != Expected(question)) {
      fmt::print(stderr, "query_bench: {}: wrong answer for location {}, day {}:\n{}", name,
                 question.location, question.day, answer);
      std::exit(1);
    }
  }
  std::sort(times.begin(), times.end());
  fmt::print("{:<58} {:9.1f} p50 {:9.1f} p99  ({} asked)\n", name, times[times.size() / 2],
             times[times.size() * 99 / 100], times.size());
  std::fflush(stdout);
}

// The table's log as one checkpoint, and the questions with their answers, for `command`.
int RunRival(TestLake& lake, const std::vector<Question>& questions, const std::string& command) {
  const std::filesystem::path table = lake.state.counts_files.root();
  LocalStorage storage(table.parent_path());
  const SystemClock clock;
  const lake::SnapshotPtr empty =
      lake::OpenOrCreate(storage, clock, lake::IncrementsSpec(lake::Layout::kByLocation)).value();
  lake::Commit commit;
  for (const LakeFile* file : lake.state.counts_files.Select({}))
    commit.adds.push_back(
        {.path = file->path,
         .partition_values = {{"date", FormatDay(*file->day)},
                              {"geographical_location_oid", fmt::to_string(file->location->v)}},
         .size_bytes = static_cast<int64_t>(
             std::filesystem::file_size(lake.state.counts_files.AbsolutePath(*file))),
         .modified_ms = clock.NowMs(),
         .stats = fmt::format(R"({{"numRecords":{}}})", file->rows)});
  lake::Snapshot snapshot = *empty;
  snapshot.version = {snapshot.version.v - 1};  // the same version, with files
  snapshot.Apply(std::move(commit));
  if (!lake::WriteCheckpoint(storage, lake::kIncrementsTable, snapshot, clock.NowMs()).ok())
    return 1;
  std::string text;
  for (const Question& question : questions) {
    text += fmt::format("{} {}", question.location, FormatDayOf(question.day));
    for (int64_t item = kItems - 1; item >= 0; --item)
      text += fmt::format(" item{} {}", item, kMinutes * CountOf(question, item));
    text += '\n';
  }
  const std::string file = lake.directory() + "/questions";
  std::ofstream(file) << text;
  return std::system(fmt::format("{} {} {}", command, table.native(), file).c_str()) == 0 ? 0 : 1;
}

std::string SqlOf(const Question& question, std::string_view from) {
  return fmt::format(
      "SELECT item_name, sum(item_count)::BIGINT AS n FROM {} WHERE geographical_location_oid = {} "
      "AND date = DATE '{}' GROUP BY item_name ORDER BY n DESC LIMIT 10",
      from, question.location, FormatDayOf(question.day));
}

std::string PlainDuckDb(const duck::Connection& connection, const std::string& sql) {
  duck::ResultSet result_set;
  if (duckdb_query(connection.get(), sql.c_str(), result_set.out()) != DuckDBSuccess) {
    return duckdb_result_error(result_set.out());
  }
  std::string text;
  while (duck::Chunk chunk{duckdb_fetch_chunk(result_set.get())}) {
    void* items = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk.get(), 0));
    void* counts = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk.get(), 1));
    for (idx_t row = 0; row < duckdb_data_chunk_get_size(chunk.get()); ++row) {
      text += fmt::format("{} {}\n", duck::TextAt(items, row), static_cast<int64_t*>(counts)[row]);
    }
  }
  return text;
}

// Sums up one day of a ledger with one file per day, with the statistics of append_hour and
// without them.
void MeasureLedger(const std::shared_ptr<TestLake>& lake, int64_t days) {
  constexpr int64_t kHours = 24, kCameras = 200, kAsked = 20;
  for (int64_t day = 0; day < days; ++day) {
    std::vector<LedgerIncrement> rows;
    for (int64_t row = 0; row < kHours * kCameras; ++row) {
      LedgerRow sums{.key = {.location = {row % kCameras / 10},
                             .camera = {row % kCameras},
                             .hour = {kNewYear.v + day * kDayMs + row / kCameras * 3'600'000}}};
      sums.ledger.received = day + 1;
      rows.push_back({.source = {"log", 0}, .row = sums});
    }
    lake->WriteLedger(rows);
  }
  for (const bool skip : {true, false}) {
    std::vector<LakeFile> files;
    for (const LakeFile* file : lake->state.ledger_files.Select({})) {
      files.push_back(*file);
      if (!skip) files.back().append_hour_min = files.back().append_hour_max = std::nullopt;
    }
    lake->state.ledger_files = FileList(lake->state.ledger_files.root(), std::move(files));
    const auto engine = Engine(lake);
    std::vector<double> times;
    for (int64_t i = 0; i < kAsked; ++i) {
      const int64_t day = i * days / kAsked;
      const EventTime first{kNewYear.v + day * kDayMs};
      const double start = Now();
      Result<ResultTable> table =
          engine->LedgerTotals(Scope::All(), {.hours = Window{first, {first.v + kDayMs}}});
      const std::vector<Row> rows = ReadAll(table.value()).value();
      times.push_back(Now() - start);
      if (std::get<int64_t>(rows[0][0]) != kHours * kCameras * (day + 1)) {
        fmt::print(stderr, "query_bench: ledger: wrong answer for day {}\n", day);
        std::exit(1);
      }
    }
    std::sort(times.begin(), times.end());
    fmt::print("{:<58} {:9.1f} p50 {:9.1f} max  ({} files a question)\n",
               skip ? "ledger of a day" : "ledger of a day, without statistics",
               times[times.size() / 2], times.back(), engine->files_selected() / kAsked);
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto number = [&](int at, int64_t otherwise) {
    return argc > at ? std::atoll(argv[at]) : otherwise;
  };
  const int64_t days = number(1, 365), locations = number(2, 1000), count = number(3, 200);
  std::mt19937 random(1);
  std::set<std::pair<int64_t, int64_t>> chosen;
  while (static_cast<int64_t>(chosen.size()) < std::min(count, days * locations)) {
    chosen.insert({1 + random() % locations, random() % days});
  }
  std::vector<Question> questions;
  for (const auto& [location, day] : chosen) questions.push_back({location, day});

  const auto lake = std::make_shared<TestLake>();
  Fill(*lake, days, locations, questions);
  const auto engine = Engine(lake);
  const bool with_rival = argc > 4;
  Measure("top, one location and day", questions, [&](const Question& question) {
    const EventTime start{kNewYear.v + question.day * kDayMs};
    return Items(engine->Top(Scope::All(), {.location = LocationId{question.location},
                                            .range = {start, {start.v + kDayMs}}}),
                 2);
  });
  if (with_rival) return RunRival(*lake, questions, argv[4]);
  MeasureLedger(lake, days);
  Measure("the same as SQL through the engine", questions, [&](const Question& question) {
    return Items(engine->Run(SqlOf(question, "item_counts"), Scope::All(), {}), 0);
  });

  // Nothing to skip: every file is opened. Measured once, because it takes minutes.
  const double start = Now();
  int64_t own = 0;
  for (const Question& question : questions) {
    for (int64_t item = 0; item < kItems; ++item) own += kMinutes * CountOf(question, item);
  }
  const int64_t others = static_cast<int64_t>(lake->state.counts_files.size() - questions.size());
  Result<ResultTable> all =
      engine->Run("SELECT 'sum' AS name, sum(item_count)::BIGINT AS n FROM item_count_increments",
                  Scope::All(), {.time = {600'000}});
  const std::string sum = Items(std::move(all), 0);
  fmt::print("{:<58} {:9.1f}\n", "SQL that wants every file", Now() - start);
  if (sum != fmt::format("sum {}\n", others * 1'000'000'000 + own)) {
    fmt::print(stderr, "query_bench: every file: wrong answer: {}\n", sum);
    return 1;
  }

  questions.resize(std::min<size_t>(questions.size(), 3));
  Result<duck::Database> database = duck::Open({{"threads", "2"}});
  Result<duck::Connection> connection = duck::Connect(database.value());
  Measure("plain DuckDB, hive partitions of a glob", questions, [&](const Question& question) {
    return PlainDuckDb(
        connection.value(),
        SqlOf(question, fmt::format("read_parquet('{}/*/*/*.parquet', hive_partitioning = true)",
                                    lake->state.counts_files.root())));
  });
  return 0;
}
