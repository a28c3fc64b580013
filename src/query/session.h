// Session: the slot, connection, state and views of one query. Internal to this room.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "query/query_engine.h"
#include "query/row_scan.h"
#include "query/unreadable_files.h"
#include "query/views.h"
#include "query/watchdog.h"
#include "sql/read_bounds.h"
#include "sql/sql_guard.h"

namespace sightline {

// Why a Parquet file cannot be read. Empty: it can.
std::string WhyUnreadable(const std::string& path, const duck::Database& database);

struct QueryEngine::Core {
  std::shared_ptr<LakeSource> source;
  int32_t queries_max = 0;
  int64_t memory_bytes_max = 0;
  Millis window_size;
  bool prune = true;
  RowScans scans;
  duck::Database database;  // destroyed before `scans`, which its table function uses
  SqlGuard guard;
  Watchdog watchdog;
  UnreadableFiles unreadable{
      [this](const std::string& path) { return sightline::WhyUnreadable(path, database); }};
  std::atomic<int64_t> files_selected = 0;

  std::mutex mutex;
  std::condition_variable_any slot_free;
  int32_t running = 0;  // guarded by mutex
  bool ending = false;  // guarded by mutex
};

// One thread at a time. Gives its slot back when it is destroyed.
class QueryEngine::Session {
 public:
  // Waits for a slot until the time limit. kRetry: none became free, or the engine stops.
  static Result<std::unique_ptr<Session>> Begin(std::shared_ptr<Core> core, const Scope& scope,
                                                const QueryLimits& limits);
  ~Session();

  // Takes the state of the lake for `views`, and makes each view from the pending rows and the
  // files that may hold rows within its bounds. Call it once.
  Status AddViews(const ViewBounds& views);
  Result<CheckedSql> Check(std::string_view sql) const;
  // Runs `sql`. The answer keeps the session until it is read or destroyed.
  static Result<ResultTable> Answer(std::unique_ptr<Session> session, const std::string& sql);
  // Replaces a failure by its real cause where a limit or an interrupt caused it.
  Status Explain(Status status) const;

 private:
  Session(std::shared_ptr<Core> core, Scope scope, QueryLimits limits, Watchdog::Time deadline)
      : core_(std::move(core)), scope_(std::move(scope)), limits_(limits), deadline_(deadline) {}
  Status HoldFiles(const ViewBounds& views);
  Status AddView(std::string_view view, ReadBounds bounds);
  Status Reached(QueryLimit limit, std::string why) const;
  Status OutOfMemory() const;
  std::string Increments(const ReadBounds& bounds, Status& failed);
  std::string Ledger(const ReadBounds& bounds, Status& failed);
  std::string LocationNames();
  std::vector<ViewPart> FileParts(const FileList& files, const ReadBounds& bounds, bool is_ledger,
                                  Status& failed);
  // Sets the variables from which `part` takes its files and, if it reads them apart, their values.
  Status SetFiles(const ViewPart& part, const FileList& files,
                  const std::vector<const LakeFile*>& selected);
  Status SetList(const std::string& variable, duckdb_type type,
                 const std::vector<duck::Value>& values);
  // Prepares `sql`; casts columns that DuckReader cannot read to text, JSON or timestamps.
  Result<duck::Prepared> Prepare(const std::string& sql, std::vector<Column>& columns);

  const std::shared_ptr<Core> core_;
  const Scope scope_;
  const QueryLimits limits_;
  const Watchdog::Time deadline_;
  std::shared_ptr<const LakeState> state_;  // null before AddViews()
  std::shared_ptr<const void> files_;       // copies of its files; null: they are read in place
  std::vector<RowScans::Handle> handles_;
  duck::Connection connection_;
  std::optional<Watchdog::Watch> watch_;  // destroyed before the connection that it interrupts
  int32_t variables_ = 0;
  bool reads_lake_ = false;  // or only rows of its own, and names of locations
};

}  // namespace sightline
