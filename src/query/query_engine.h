// QueryEngine: answers SQL and the fixed questions from the lake and the pending rows.
//
// Every answer comes from one LakeState and is limited to a Scope: locations outside the scope are
// in no view and no sum, and files that hold only such locations are not opened. Thread-safe: a
// query runs on the caller's thread and on DuckDB's, and at most `queries_max` run at a time.
// Failure: kRetry when the same question may succeed later; kStop, with a sentence for the user,
// when it cannot be answered.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "model/scope.h"
#include "query/lake_source.h"
#include "query/result_table.h"

namespace sightline {

struct QueryEngineOptions {
  // Absolute directories of the lake's files; queries can read nothing else on disk.
  std::vector<std::string> directories;
  // Limit for all queries together; DuckDB never spills to disk. Memory that DuckDB does not count
  // towards it may take kUncountedBytesMax on top.
  int64_t memory_bytes_max = 512LL << 20;
  int32_t threads = 2;
  int32_t queries_max = 4;
  Millis window_size{60'000};  // of the stored counts
  bool prune = true;           // false, in tests: SQL reads every file, whatever its WHERE says
};

constexpr int64_t kUncountedBytesMax = 256LL << 20;

// The limit that made a query fail, if one did.
enum class QueryLimit : uint8_t {
  kNone,
  kTime,
  kMemory,
  kCrash,  // it ended the process that computed it
};

struct QueryLimits {
  Millis time{30'000};  // from `start` to the last row
  int64_t rows_max = 1'000'000;
  // When `time` began to run, for a query that has waited already; none: with the call.
  std::optional<std::chrono::steady_clock::time_point> start;
  // Stopped when nobody wants the answer any more; the query then fails within milliseconds.
  std::stop_token abandoned;
  // Where the engine writes the limit that caused a failure, before it returns the failure. If not
  // null, it must outlive the answer.
  QueryLimit* reached = nullptr;
};

// All requests are about windows that begin within `range`, [start, end).
struct TopRequest {
  std::optional<LocationId> location;  // none: the sum over all locations of the scope
  Window range;
  int32_t limit = 10;
};
struct CountsRequest {
  std::optional<LocationId> location;
  std::optional<std::string> item;
  Window range;
  // A multiple of window_size, aligned to the epoch. The range begins with the step that contains
  // its start, and has at most kStepsMax steps.
  Millis step{3'600'000};
};
constexpr int64_t kStepsMax = 100'000;
struct ItemsRequest {
  std::optional<LocationId> location;
  Window range;
  int32_t limit = 1000;
};
enum class LedgerGroup { kNone, kLocation, kCamera, kHour, kSource };
struct LedgerRequest {
  std::optional<LocationId> location;
  std::optional<Window> hours;  // of append time; none: all, also events without one (from files)
  LedgerGroup group = LedgerGroup::kNone;
};

class QueryEngine {
 public:
  static Result<std::unique_ptr<QueryEngine>> Create(std::shared_ptr<LakeSource> source,
                                                     const QueryEngineOptions& options);
  ~QueryEngine();

  // Runs a user's SELECT over the views of docs/SQL.md.
  Result<ResultTable> Run(std::string_view sql, const Scope& scope, const QueryLimits& limits);

  // Columns position, rank, item_name, item_count; the largest count first, equal counts by the
  // bytes of the name.
  Result<ResultTable> Top(const Scope& scope, const TopRequest& request,
                          const QueryLimits& limits = {});

  // Columns step_start, item_count; one row per step, also where nothing was counted.
  Result<ResultTable> Counts(const Scope& scope, const CountsRequest& request,
                             const QueryLimits& limits = {});
  // Columns item_name, item_count, first_detected, last_detected; ordered by item_name.
  Result<ResultTable> Items(const Scope& scope, const ItemsRequest& request,
                            const QueryLimits& limits = {});
  // What became of the events: columns [the group's,] received, counted, duplicate, too_late,
  // future, malformed, outside, conflicts, heartbeats, lost. received is the sum of the six after
  // it.
  Result<ResultTable> LedgerTotals(const Scope& scope, const LedgerRequest& request,
                                   const QueryLimits& limits = {});
  // Columns geographical_location_oid, geographical_location (null: not in the location table),
  // item_count, first_detected, last_detected; every location that has a name, or counts in
  // `range`. Ordered by name, then oid; locations without a name last.
  Result<ResultTable> Locations(const Scope& scope, const Window& range,
                                const QueryLimits& limits = {});

  // Stops running queries and refuses new ones, because the process stops.
  void Interrupt();

  // Returns why queries fail lastingly: a file of the lake that cannot be read. Reads it again, so
  // do not ask too often. Empty: no query has met such a file, or it can be read again.
  std::string trouble() const;
  // The files of the lake that made queries fail since the last call, by path, and why.
  std::map<std::string, std::string> TakeUnreadableFiles();
  // Why a file of the lake cannot be read. Empty: it can. Reads all of it.
  std::string WhyUnreadable(const std::string& path) const;
  // How many files queries had to read so far.
  int64_t files_selected() const;

 private:
  struct Core;
  class Session;
  explicit QueryEngine(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  Result<std::unique_ptr<Session>> Begin(const Scope& scope,
                                         const std::optional<LocationId>& location,
                                         const Window& range, const QueryLimits& limits,
                                         ViewBounds others = {}) const;

  // Shared with the answers that are still being read, which may outlive the engine.
  const std::shared_ptr<Core> core_;
};

}  // namespace sightline
