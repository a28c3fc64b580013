#include "query/session.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

#include "query/duck_memory.h"
#include "query/duck_reader.h"
#include "query/failures.h"
#include "query/file_bounds.h"
#include "query/lake_rows.h"
#include "query/parsed_sql.h"
#include "sql/sql_errors.h"

namespace sightline {
namespace {

// Reads the rows of a query. A failure gets its real cause, and the session, with its connection
// and views, lives until the last row is read.
class SessionReader final : public RowReader {
 public:
  SessionReader(std::unique_ptr<RowReader> reader, std::function<Status(Status)> explain)
      : explain_(std::move(explain)), reader_(std::move(reader)) {}
  Result<bool> Next(Row& row) override {
    Result<bool> more = reader_->Next(row);
    if (!more.ok()) return explain_(more.status());
    return more;
  }

 private:
  std::function<Status(Status)> explain_;  // owns the session, so it must outlive the reader
  std::unique_ptr<RowReader> reader_;
};

// The expression that turns a column into one that DuckReader can read, and its type.
std::string Readable(duckdb_type type, const std::string& name, Column& column) {
  switch (type) {
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
    case DUCKDB_TYPE_BIGNUM:
    case DUCKDB_TYPE_DECIMAL:
      column.type = ColumnType::kNumber;
      return fmt::format("CAST({} AS VARCHAR)", name);
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_MAP:
    case DUCKDB_TYPE_UNION:
      column.type = ColumnType::kJson;
      return fmt::format("CAST(to_json({}) AS VARCHAR)", name);
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
      column.type = ColumnType::kLocalTime;
      return fmt::format("CAST({} AS TIMESTAMP)", name);
    default:
      column.type = ColumnType::kText;
      return fmt::format("CAST({} AS VARCHAR)", name);
  }
}

}  // namespace

// Reads all columns of the file.
std::string WhyUnreadable(const std::string& path, const duck::Database& database) {
  const Result<duck::Connection> connection = duck::Connect(database);
  if (!connection.ok()) return connection.status().message();
  const std::string message =
      duck::Execute(connection.value(),
                    fmt::format("SELECT count(COLUMNS(*)) FROM read_parquet({}, "
                                "hive_partitioning = false)",
                                duck::Quoted(path)))
          .message();
  return message.substr(0, message.find('\n'));
}

Result<std::unique_ptr<QueryEngine::Session>> QueryEngine::Session::Begin(
    std::shared_ptr<Core> core, const Scope& scope, const QueryLimits& limits) {
  const auto now = std::chrono::steady_clock::now();
  const auto deadline = limits.start.value_or(now) + std::chrono::milliseconds(limits.time.v);
  {
    // The wait counts towards the time limit: a query that waits too long fails instead of running
    // late.
    std::unique_lock lock(core->mutex);
    const bool has_slot = core->slot_free.wait_until(lock, limits.abandoned, deadline, [&] {
      return core->ending || core->running < core->queries_max;
    });
    if (limits.abandoned.stop_requested()) return Abandoned();
    if (core->ending) return Stopping();
    if (!has_slot || now >= deadline) {
      return WaitedTooLong(limits.time, core->queries_max);
    }
    ++core->running;
  }
  // From here on the session owns the slot: its destructor gives it back if anything below fails.
  auto session = std::unique_ptr<Session>(new Session(core, scope, limits, deadline));
  Result<duck::Connection> connection = duck::Connect(core->database);
  if (!connection.ok()) return connection.status();
  session->connection_ = std::move(connection).value();
  session->watch_.emplace(&core->watchdog, session->connection_.get(), deadline, limits.abandoned);
  return session;
}

QueryEngine::Session::~Session() {
  // First the watch, which interrupts the connection; then the connection, so that its memory can
  // be released before the slot lets another query in.
  watch_.reset();
  connection_ = duck::Connection();
  duck::ReleaseMemory();
  {
    const std::lock_guard lock(core_->mutex);
    --core_->running;
  }
  core_->slot_free.notify_one();
}

Status QueryEngine::Session::Reached(QueryLimit limit, std::string why) const {
  if (limits_.reached != nullptr) *limits_.reached = limit;
  return Status::Stop(std::move(why));
}

Status QueryEngine::Session::Explain(Status status) const {
  if (status.ok()) return status;
  // An interrupted query fails with a message that says nothing about the cause: the watchdog's
  // reason comes first.
  switch (watch_->stop_reason()) {
    case Watchdog::StopReason::kNone:
      break;
    case Watchdog::StopReason::kStopping:
      return Stopping();
    case Watchdog::StopReason::kAbandoned:
      return Abandoned();
    case Watchdog::StopReason::kTime:
      return Reached(QueryLimit::kTime, TookTooLong(limits_.time).message());
    case Watchdog::StopReason::kMemory:
      return OutOfMemory();
  }
  // The C API has no error code for this, only the message.
  if (status.message().find("Out of Memory Error") != std::string::npos) return OutOfMemory();
  if (state_ != nullptr) core_->unreadable.Note(*state_, status.message());
  // DuckDB refuses every later question in the same database. Its text has a stack trace, with
  // paths of this machine.
  for (const char* broken : {"INTERNAL Error", "FATAL Error"})
    if (status.message().starts_with(broken))
      return Reached(QueryLimit::kCrash, "DuckDB failed at this question (an internal error)");
  if (status.code() == StatusCode::kStop) return Status::Stop(InOurWords(status.message()));
  return status;
}

Status QueryEngine::Session::OutOfMemory() const {
  return Reached(
      QueryLimit::kMemory,
      fmt::format("out of memory: the query needs more than query.memory_max, which is {} "
                  "MiB: ask for fewer rows, columns or groups, or raise the limit",
                  core_->memory_bytes_max >> 20));
}

Result<CheckedSql> QueryEngine::Session::Check(std::string_view sql) const {
  return ParseAndCheck(connection_, core_->guard, sql);
}

// The paths go into a DuckDB variable, not into the view's SQL: a table may have hundreds of
// thousands of files, and a variable needs no quoting and no parsing.
Status QueryEngine::Session::SetList(const std::string& variable, duckdb_type type,
                                     const std::vector<duck::Value>& values) {
  Result<duck::Prepared> prepared =
      duck::Prepare(connection_, fmt::format("SET VARIABLE {} = ?", variable));
  if (!prepared.ok()) return prepared.status();
  std::vector<duckdb_value> handles;
  for (const duck::Value& value : values) handles.push_back(value.get());
  const duck::LogicalType element(duckdb_create_logical_type(type));
  const duck::Value list(duckdb_create_list_value(element.get(), handles.data(), handles.size()));
  if (duckdb_bind_value(prepared.value().get(), 1, list.get()) != DuckDBSuccess) {
    return Status::Stop("cannot pass the list of files to DuckDB");
  }
  duck::ResultSet result_set;
  if (duckdb_execute_prepared(prepared.value().get(), result_set.out()) == DuckDBSuccess) {
    return Status::Ok();
  }
  return Status::Stop(duckdb_result_error(result_set.out()));
}

Status QueryEngine::Session::SetFiles(const ViewPart& part, const FileList& files,
                                      const std::vector<const LakeFile*>& selected) {
  std::vector<duck::Value> paths, locations, dates;
  for (const LakeFile* file : selected) {
    const std::string path = files.AbsolutePath(*file);
    paths.emplace_back(duckdb_create_varchar_length(path.data(), path.size()));
    if (!part.is_apart) continue;
    if (part.has_location) locations.emplace_back(duckdb_create_int64(file->location->v));
    if (part.has_date) dates.emplace_back(duckdb_create_date({static_cast<int32_t>(file->day->v)}));
  }
  RETURN_IF_ERROR(SetList(part.variable, DUCKDB_TYPE_VARCHAR, paths));
  if (!locations.empty())
    RETURN_IF_ERROR(SetList(LocationsOf(part.variable), DUCKDB_TYPE_BIGINT, locations));
  return dates.empty() ? Status::Ok() : SetList(DatesOf(part.variable), DUCKDB_TYPE_DATE, dates);
}

// One read_parquet() call needs files of one shape. So the files are grouped by which partition
// values they have, by whether their paths tell these, and by whether they have the column `lost`.
std::vector<ViewPart> QueryEngine::Session::FileParts(const FileList& files,
                                                      const ReadBounds& bounds, bool is_ledger,
                                                      Status& failed) {
  std::map<std::tuple<bool, bool, bool, bool>, std::vector<const LakeFile*>> groups;
  const auto selected = files.Select(bounds);
  core_->files_selected += static_cast<int64_t>(selected.size());
  for (const LakeFile* file : selected) {
    const bool has_location = file->location.has_value();
    const bool has_date = !is_ledger && file->day.has_value();
    const bool is_apart = (has_location || has_date) && !files.PathTells(*file);
    groups[{has_location, has_date, is_apart, is_ledger && !file->has_lost}].push_back(file);
  }
  std::vector<ViewPart> parts;
  for (const auto& [how, group] : groups) {
    const auto& [has_location, has_date, is_apart, may_lack_lost] = how;
    parts.push_back({.variable = fmt::format("sightline_files_{}", ++variables_),
                     .has_location = has_location,
                     .has_date = has_date,
                     .is_apart = is_apart,
                     .may_lack_lost = may_lack_lost});
    if (Status set = SetFiles(parts.back(), files, group); !set.ok()) failed = std::move(set);
  }
  return parts;
}

// The lake's files and the pending rows. state_ has both as of one moment, so that no row is
// missing and none is in both.
std::string QueryEngine::Session::Increments(const ReadBounds& bounds, Status& failed) {
  reads_lake_ = true;
  std::vector<ViewPart> parts =
      FileParts(state_->counts_files, bounds, /*is_ledger=*/false, failed);
  handles_.push_back(core_->scans.Add(PendingCounts(*state_, scope_)));
  parts.push_back({.from = handles_.back().Sql()});
  return IncrementsSql(parts, scope_);
}

std::string QueryEngine::Session::Ledger(const ReadBounds& bounds, Status& failed) {
  reads_lake_ = true;
  std::vector<ViewPart> parts = FileParts(state_->ledger_files, bounds, /*is_ledger=*/true, failed);
  handles_.push_back(core_->scans.Add(PendingLedger(*state_, scope_)));
  parts.push_back({.from = handles_.back().Sql()});
  return LedgerSql(parts, scope_);
}

std::string QueryEngine::Session::LocationNames() {
  handles_.push_back(core_->scans.Add(LocationRows(*state_, scope_)));
  return handles_.back().Sql();
}

Status QueryEngine::Session::AddViews(const ViewBounds& views) {
  auto state = core_->source->For(views);
  if (!state.ok()) return state.status();
  state_ = std::move(state).value();
  RETURN_IF_ERROR(HoldFiles(views));
  for (const auto& [view, bounds] : views) RETURN_IF_ERROR(AddView(view, bounds));
  return Status::Ok();
}

Status QueryEngine::Session::HoldFiles(const ViewBounds& views) {
  FileKeeper* const copies = core_->source->copies();
  if (copies == nullptr) return Status::Ok();
  std::vector<NeededFile> files;
  AddNeeded(kCountsFolder, FilesFor(state_->counts_files, views, scope_, false), files);
  AddNeeded(kLedgerFolder, FilesFor(state_->ledger_files, views, scope_, true), files);
  const auto go_on = [this] {
    return watch_->stop_reason() == Watchdog::StopReason::kNone ? Status::Ok()
                                                                : Status::Stop("it is stopped");
  };
  Holding holding = copies->Hold(files, {.deadline = deadline_, .go_on = go_on});
  files_ = std::move(holding.files);
  return holding.too_large ? Reached(QueryLimit::kMemory, holding.status.message())
                           : Explain(std::move(holding.status));
}

Status QueryEngine::Session::AddView(std::string_view view, ReadBounds bounds) {
  bounds = FileBounds(view, std::move(bounds), scope_);
  Status failed = Status::Ok();
  std::string sql;
  if (view == kItemCounts) {
    sql = Increments(bounds, failed);
    sql = ItemCountsSql(sql, LocationNames());
  } else if (view == kIncrements) {
    sql = Increments(bounds, failed);
  } else if (view == kLedger) {
    sql = Ledger(bounds, failed);
  } else {
    sql = fmt::format("SELECT * FROM {}", LocationNames());
  }
  RETURN_IF_ERROR(Explain(std::move(failed)));
  return Explain(duck::Execute(connection_, fmt::format("CREATE TEMP VIEW {} AS {}", view, sql)));
}

Result<duck::Prepared> QueryEngine::Session::Prepare(const std::string& sql,
                                                     std::vector<Column>& columns) {
  Result<duck::Prepared> prepared = duck::Prepare(connection_, sql);
  if (!prepared.ok()) return prepared.status();
  columns = ColumnsOf(prepared.value());
  std::string names, readable;
  bool all = true;
  for (size_t i = 0; i < columns.size(); ++i) {
    const duckdb_type type = duckdb_prepared_statement_column_type(prepared.value().get(), i);
    const std::string name = fmt::format("c{}", i);
    names += (i == 0 ? "" : ", ") + name;
    readable += i == 0 ? "" : ", ";
    if (ReadableAs(type)) {
      readable += name;
    } else {
      readable += Readable(type, name, columns[i]);
      all = false;
    }
  }
  if (all) return prepared;
  // A view, not a subquery, because CREATE VIEW takes the statement as it is, with comments and a
  // semicolon. Naming the columns c0, c1... makes them unique.
  RETURN_IF_ERROR(duck::Execute(
      connection_, fmt::format("CREATE TEMP VIEW sightline_answer({}) AS {}", names, sql)));
  return duck::Prepare(connection_, fmt::format("SELECT {} FROM sightline_answer", readable));
}

Result<ResultTable> QueryEngine::Session::Answer(std::unique_ptr<Session> session,
                                                 const std::string& sql) {
  std::vector<Column> columns;
  Result<duck::Prepared> prepared = session->Prepare(sql, columns);
  if (!prepared.ok()) return session->Explain(prepared.status());
  auto reader = DuckReader::Start(std::move(prepared).value());
  if (!reader.ok()) return session->Explain(reader.status());
  const int64_t rows_max = session->limits_.rows_max;
  std::vector<IncompletePartition> incomplete;
  if (session->reads_lake_) incomplete = session->state_->incomplete;
  auto explain = [session = std::shared_ptr<Session>(std::move(session))](Status status) {
    return session->Explain(std::move(status));
  };
  ResultTable table(std::move(columns),
                    std::make_unique<SessionReader>(std::move(reader).value(), std::move(explain)),
                    rows_max);
  table.SetIncomplete(std::move(incomplete));
  return table;
}

}  // namespace sightline
