// QueryService: the port through which everybody asks the lake. An answer is text or Parquet, in
// the format that the asker wants.
//
// LocalQueries (query/local_queries.h) computes in this process; QueryWorkers
// (workers/query_workers.h) in processes of their own, so that a question can harm only itself.
// Thread-safe: a question runs on the caller's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/metric.h"
#include "model/scope.h"
#include "query/lake_source.h"
#include "query/query_engine.h"
#include "query/write_result.h"

namespace sightline {

struct SqlRequest {
  std::string sql;
};
// Locations with a name, or with counts in `range`.
struct LocationsRequest {
  Window range;
};
struct Question {
  std::variant<SqlRequest, TopRequest, CountsRequest, ItemsRequest, LedgerRequest, LocationsRequest>
      request;
  Scope scope;
  ResultFormat format = ResultFormat::kJson;
};

// Where the bytes of an answer go. `clear` drops all that came, because the answer begins again; it
// may be null where that never happens (LocalQueries).
struct AnswerSink {
  ResultSink append;
  std::function<void()> clear;
};

struct AnswerEnd {
  Status status = Status::Ok();          // kRetry, kStop: the bytes that came are not the answer
  QueryLimit limit = QueryLimit::kNone;  // that made it fail
  bool truncated = false;                // the answer had more than QueryLimits::rows_max rows
  std::vector<IncompletePartition> incomplete;  // of which the answer lacks something
};

class QueryService {
 public:
  virtual ~QueryService() = default;
  // Ignores limits.reached; AnswerEnd has it.
  virtual AnswerEnd Answer(const Question& question, const QueryLimits& limits,
                           const AnswerSink& sink) = 0;
  // Ends what runs and refuses what comes, because the process stops.
  virtual void Interrupt() = 0;
  // Why questions fail lastingly: a file of the lake cannot be read. Empty: none has met one.
  virtual std::string trouble() = 0;
  virtual std::vector<Metric> metrics() const { return {}; }

  Millis window_size() const { return window_size_; }
  // The time zone of a location of the scope, by IANA name; empty if the location table has none.
  Result<std::string> TimeZoneOf(const Scope& scope, LocationId location) const;

 protected:
  QueryService(std::shared_ptr<LakeSource> source, Millis window_size)
      : source_(std::move(source)), window_size_(window_size) {}
  const std::shared_ptr<LakeSource> source_;
  const Millis window_size_;
};

// Makes the service for a lake: `root` is its folder, or that of the copies of its files, an
// absolute path, and `window_size` that of its counts.
using OpenQueries = std::function<Result<std::unique_ptr<QueryService>>(
    std::shared_ptr<LakeSource> source, const std::string& root, Millis window_size)>;

}  // namespace sightline
