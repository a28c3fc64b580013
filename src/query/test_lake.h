// TestLake: a lake in a temporary directory, its files written by DuckDB. For tests and benchmarks.
#pragma once

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/location.h"
#include "query/lake_rows.h"
#include "query/lake_source.h"
#include "query/query_engine.h"
#include "query/write_result.h"
#include "sql/calendar.h"

namespace sightline {

// 2026-01-01T00:00:00Z
constexpr EventTime kNewYear{1'767'225'600'000};
constexpr int64_t kMinuteMs = 60'000;

// A count of `item` in the window that begins `minute` minutes after the new year.
inline CountIncrement Increment(int64_t location, std::string item, int64_t minute, int64_t count) {
  const EventTime start{kNewYear.v + minute * kMinuteMs};
  return {.location = {location},
          .item = std::move(item),
          .window = {start, {start.v + kMinuteMs}},
          .count = count,
          .first_detected = {start.v + 1},
          .last_detected = {start.v + 59'999},
          .source = {"log", 0}};
}

class TestLake final : public LakeSource {
 public:
  // `below` is a folder inside of the temporary directory in which the tables lie; empty: none.
  explicit TestLake(const std::string& below = "") {
    // A file system in memory where there is one: DuckDB waits for the disk after each file.
    const bool in_memory = std::filesystem::exists("/dev/shm");
    std::string name =
        (in_memory ? std::string("/dev/shm") : std::filesystem::temp_directory_path().string()) +
        "/sightline-lake-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    temporary_ = name;
    directory_ = temporary_ / below;
    state.counts_files = FileList(directory() + "/item_count_increments", {});
    state.ledger_files = FileList(directory() + "/ledger", {});
    Result<duck::Database> database = duck::Open({{"threads", "1"}});
    CHECK(database.ok());
    database_ = std::move(database).value();
    Result<duck::Connection> connection = duck::Connect(database_);
    CHECK(connection.ok());
    connection_ = std::move(connection).value();
    CHECK(scans_.Register(connection_).ok());
  }
  ~TestLake() override { std::filesystem::remove_all(temporary_); }

  // Writes rows as files: one a location and day, or, `bucketed`, one a bucket and day with the
  // oid inside.
  void WriteCounts(const std::vector<CountIncrement>& rows, bool bucketed = false) {
    std::map<std::pair<int64_t, Day>, std::vector<CountIncrement>> groups;
    for (const CountIncrement& row : rows) {
      groups[{bucketed ? BucketOf(row.location) : row.location.v, DayOf(row.window.start)}]
          .push_back(row);
    }
    std::vector<LakeFile> added;
    for (auto& [key, group] : groups) {
      const auto& [location, day] = key;  // or bucket, day
      LakeFile file{.rows = static_cast<int64_t>(group.size()), .day = day};
      if (bucketed) {
        file.bucket = static_cast<int32_t>(location);
        file.path =
            fmt::format("date={}/bucket={}/part-{}.parquet", FormatDay(day), location, ++files_);
      } else {
        file.location = LocationId{location};
        file.path = fmt::format("geographical_location_oid={}/date={}/part-{}.parquet", location,
                                FormatDay(day), ++files_);
      }
      LakeState part;
      part.pending_counts = std::make_shared<const std::vector<CountIncrement>>(std::move(group));
      Copy(PendingCounts(part, Scope::All()),
           bucketed ? "* EXCLUDE (date)" : "* EXCLUDE (date, geographical_location_oid)",
           state.counts_files.AbsolutePath(file));
      added.push_back(std::move(file));
    }
    state.counts_files = state.counts_files.With(added, {});
  }
  // Rows with an append time are in the file's statistics.
  void WriteLedger(const std::vector<LedgerIncrement>& rows, bool with_lost = true,
                   bool has_statistics = true) {
    LakeState part;
    part.pending_ledger = std::make_shared<const std::vector<LedgerIncrement>>(rows);
    LakeFile file{.path = fmt::format("part-{}.parquet", ++files_)};
    for (const LedgerIncrement& row : rows) {
      if (row.row.key.hour == kNoAppendTime) continue;
      const EventTime hour{row.row.key.hour.v};
      file.append_hour_min = std::min(file.append_hour_min.value_or(hour), hour);
      file.append_hour_max = std::max(file.append_hour_max.value_or(hour), hour);
    }
    file.has_lost = with_lost && has_statistics;
    Copy(PendingLedger(part, Scope::All()), with_lost ? "*" : "* EXCLUDE (lost)",
         state.ledger_files.AbsolutePath(file));
    state.ledger_files = state.ledger_files.With({{file}}, {});
  }

  // Moves each file of counts to the path that `path` returns. The log still knows its location and
  // day.
  void MoveCounts(const std::function<std::string(const LakeFile&)>& path) {
    std::vector<LakeFile> moved;
    for (const LakeFile* file : state.counts_files.Select({})) {
      moved.push_back(*file);
      moved.back().path = path(*file);
      const std::filesystem::path to = state.counts_files.AbsolutePath(moved.back());
      std::filesystem::create_directories(to.parent_path());
      std::filesystem::rename(state.counts_files.AbsolutePath(*file), to);
    }
    state.counts_files = FileList(state.counts_files.root(), moved);
  }

  Result<std::shared_ptr<const LakeState>> Current() override {
    return std::make_shared<const LakeState>(state);
  }
  std::string directory() const { return directory_.string(); }

  LakeState state;  // to be changed between queries

 private:
  void Copy(RowSource rows, std::string_view columns, const std::string& path) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    const RowScans::Handle handle = scans_.Add(std::move(rows));
    const Status copied =
        duck::Execute(connection_, fmt::format("COPY (SELECT {} FROM {}) TO {} (FORMAT parquet)",
                                               columns, handle.Sql(), duck::Quoted(path)));
    CHECK(copied.ok());
  }

  std::filesystem::path temporary_, directory_;
  RowScans scans_;
  duck::Database database_;
  duck::Connection connection_;
  int files_ = 0;
};

inline std::unique_ptr<QueryEngine> Engine(const std::shared_ptr<TestLake>& lake,
                                           bool prune = true) {
  Result<std::unique_ptr<QueryEngine>> engine =
      QueryEngine::Create(lake, {.directories = {lake->directory()},
                                 .memory_bytes_max = 256LL << 20,
                                 .queries_max = 2,
                                 .prune = prune});
  CHECK(engine.ok());
  return std::move(engine).value();
}

// All rows as `format`; "error: " and the message when the query fails.
inline std::string Written(Result<ResultTable> table, ResultFormat format = ResultFormat::kNdjson) {
  if (!table.ok()) return "error: " + table.status().message();
  std::string out;
  const Status status = WriteResult(table.value(), format, [&](std::string_view bytes) {
    out += bytes;
    return Status::Ok();
  });
  return status.ok() ? out : "error: " + status.message();
}

}  // namespace sightline
