// Session: one query's slot, connection, state and views. Seen by this room only.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "query/query_engine.h"
#include "query/read_bounds.h"
#include "query/row_scan.h"
#include "query/sql_guard.h"
#include "query/views.h"
#include "query/watchdog.h"

namespace sightline {

struct QueryEngine::Core {
  std::shared_ptr<LakeSource> source;
  int32_t queries_max = 0;
  int64_t memory_bytes_max = 0;
  Millis window_size;
  RowScans scans;
  duck::Database database;  // after what its table functions use
  SqlGuard guard;
  Watchdog watchdog;
  std::atomic<int64_t> files_selected = 0;

  std::mutex mutex;
  std::condition_variable_any slot_free;
  int32_t running = 0;  // by mutex
  bool ending = false;  // by mutex
};

// One thread at a time.
class QueryEngine::Session {
 public:
  // Waits for a slot until the time limit. kRetry: there was none.
  static Result<std::unique_ptr<Session>> Begin(std::shared_ptr<Core> core, const Scope& scope,
                                                const QueryLimits& limits);
  ~Session();

  // Makes `view` with the files that may hold rows inside `bounds`. item_counts brings what it
  // needs.
  Status AddView(std::string_view view, ReadBounds bounds);
  Result<CheckedSql> Check(std::string_view sql) const;
  // The rows of `sql`, which keep the session.
  static Result<ResultTable> Answer(std::unique_ptr<Session> session, const std::string& sql);
  // `status`, or what a limit made of it.
  Status Explain(Status status) const;

 private:
  Session(std::shared_ptr<Core> core, Scope scope, QueryLimits limits)
      : core_(std::move(core)), scope_(std::move(scope)), limits_(limits) {}
  Status Reached(QueryLimit limit, std::string why) const;
  Status OutOfMemory() const;
  std::string Increments(const ReadBounds& bounds, Status& failed);
  std::string Ledger(const ReadBounds& bounds, Status& failed);
  std::string LocationNames();
  std::vector<ViewPart> FileParts(const FileList& files, const ReadBounds& bounds, bool is_ledger,
                                  Status& failed);
  Status SetPaths(const std::string& variable, const std::vector<std::string>& paths);
  // `sql`, or the same with columns as text and JSON that we cannot read otherwise.
  Result<duck::Prepared> Prepare(const std::string& sql, std::vector<Column>& columns);

  const std::shared_ptr<Core> core_;
  const Scope scope_;
  const QueryLimits limits_;
  std::shared_ptr<const LakeState> state_;
  std::vector<RowScans::Handle> handles_;
  duck::Connection connection_;
  std::optional<Watchdog::Watch> watch_;  // before the connection ends
  int32_t variables_ = 0;
};

}  // namespace sightline
