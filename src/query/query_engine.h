// QueryEngine: SQL and the fixed questions over the lake and what is pending.
//
// Every answer is of one LakeState, seen through a Scope: what it does not see is in no view, no
// sum and no file that is opened. Thread-safe; queries run on the caller's thread and DuckDB's, at
// most `queries_max` at a time. Status: kRetry where nothing is wrong but the place or the time;
// kStop, with a sentence for the user, where the question cannot be answered.
#pragma once

#include <chrono>
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
  // Where the lake's files are, absolute; nothing else on disk can be read.
  std::vector<std::string> directories;
  // Of all queries together; never spilled to disk. What DuckDB does not count towards it has
  // kUncountedBytesMax more.
  int64_t memory_bytes_max = 512LL << 20;
  int32_t threads = 2;
  int32_t queries_max = 4;
  Millis window_size{60'000};  // of the stored counts
};

constexpr int64_t kUncountedBytesMax = 256LL << 20;

// What a query ran out of, where its failure is not the question's fault.
enum class QueryLimit : uint8_t { kNone, kTime, kMemory };

struct QueryLimits {
  Millis time{30'000};  // from `start` to the last row
  int64_t rows_max = 1'000'000;
  // Where the query waited before the call; by default the call.
  std::optional<std::chrono::steady_clock::time_point> start;
  // Stopped when nobody wants the answer any more: it fails within milliseconds.
  std::stop_token abandoned;
  // Set before a failure is returned that it caused. Not null: must outlive the answer.
  QueryLimit* reached = nullptr;
};

// Of windows that begin in `range`, [start, end).
struct TopRequest {
  std::optional<LocationId> location;  // none: all that the scope sees, added up
  Window range;
  int32_t limit = 10;
};
struct CountsRequest {
  std::optional<LocationId> location;
  std::optional<std::string> item;
  Window range;
  // Aligned to the epoch; a multiple of the stored windows; at most kStepsMax of them.
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
  std::optional<Window> hours;  // of append time; none: also what has none (files)
  LedgerGroup group = LedgerGroup::kNone;
};

class QueryEngine {
 public:
  static Result<std::unique_ptr<QueryEngine>> Create(std::shared_ptr<LakeSource> source,
                                                     const QueryEngineOptions& options);
  ~QueryEngine();

  // One SELECT of a user over the views of docs/SQL.md.
  Result<ResultTable> Run(std::string_view sql, const Scope& scope, const QueryLimits& limits);

  // position, rank, item_name, item_count: largest first, equal counts by the bytes of the name.
  Result<ResultTable> Top(const Scope& scope, const TopRequest& request,
                          const QueryLimits& limits = {});
  Millis window_size() const;

  // step_start, item_count: one row a step, also where nothing was counted.
  Result<ResultTable> Counts(const Scope& scope, const CountsRequest& request,
                             const QueryLimits& limits = {});
  // item_name, item_count, first_detected, last_detected; by item_name.
  Result<ResultTable> Items(const Scope& scope, const ItemsRequest& request,
                            const QueryLimits& limits = {});
  // What became of each event: [group's column,] received, counted, duplicate, too_late, future,
  // malformed, outside, conflicts, heartbeats, lost. received is the sum of the six after it.
  Result<ResultTable> LedgerTotals(const Scope& scope, const LedgerRequest& request,
                                   const QueryLimits& limits = {});
  // geographical_location_oid, geographical_location (null: not in the location table), item_count,
  // first_detected, last_detected: every location that has a name or counts in `range`; by name,
  // then oid, those without a name last.
  Result<ResultTable> Locations(const Scope& scope, const Window& range,
                                const QueryLimits& limits = {});

  // Ends what runs, and refuses what comes: the process stops.
  void Interrupt();

  // Files that queries were given to read so far.
  int64_t files_selected() const;

 private:
  struct Core;
  class Session;
  explicit QueryEngine(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  Result<std::unique_ptr<Session>> Begin(const Scope& scope,
                                         const std::optional<LocationId>& location,
                                         const Window& range, const QueryLimits& limits) const;

  // Shared with the answers that are being read.
  const std::shared_ptr<Core> core_;
};

}  // namespace sightline
