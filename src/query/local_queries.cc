#include "query/local_queries.h"

#include <utility>

namespace sightline {
namespace {

Result<ResultTable> Ask(QueryEngine& engine, const Question& question, const QueryLimits& limits) {
  const Scope& scope = question.scope;
  struct Visitor {
    QueryEngine& engine;
    const Scope& scope;
    const QueryLimits& limits;
    Result<ResultTable> operator()(const SqlRequest& request) {
      return engine.Run(request.sql, scope, limits);
    }
    Result<ResultTable> operator()(const TopRequest& request) {
      return engine.Top(scope, request, limits);
    }
    Result<ResultTable> operator()(const CountsRequest& request) {
      return engine.Counts(scope, request, limits);
    }
    Result<ResultTable> operator()(const ItemsRequest& request) {
      return engine.Items(scope, request, limits);
    }
    Result<ResultTable> operator()(const LedgerRequest& request) {
      return engine.LedgerTotals(scope, request, limits);
    }
    Result<ResultTable> operator()(const LocationsRequest& request) {
      return engine.Locations(scope, request.range, limits);
    }
  };
  return std::visit(Visitor{engine, scope, limits}, question.request);
}

}  // namespace

LocalQueries::LocalQueries(std::shared_ptr<LakeSource> source, Millis window_size,
                           std::unique_ptr<QueryEngine> engine)
    : QueryService(std::move(source), window_size), engine_(std::move(engine)) {}

Result<std::unique_ptr<LocalQueries>> LocalQueries::Create(std::shared_ptr<LakeSource> source,
                                                           const QueryEngineOptions& options) {
  auto engine = QueryEngine::Create(source, options);
  if (!engine.ok()) return engine.status();
  return std::unique_ptr<LocalQueries>(
      new LocalQueries(std::move(source), options.window_size, std::move(engine).value()));
}

AnswerEnd LocalQueries::Answer(const Question& question, const QueryLimits& limits,
                               const AnswerSink& sink) {
  AnswerEnd end;
  QueryLimits ours = limits;
  ours.reached = &end.limit;
  Result<ResultTable> table = Ask(*engine_, question, ours);
  end.status =
      table.ok() ? WriteResult(table.value(), question.format, sink.append) : table.status();
  if (!table.ok()) return end;
  end.truncated = table.value().truncated();
  end.incomplete = table.value().incomplete();
  return end;
}

OpenQueries OpenLocalQueries(QueryEngineOptions options) {
  return
      [options = std::move(options)](std::shared_ptr<LakeSource> source, const std::string& root,
                                     Millis window_size) -> Result<std::unique_ptr<QueryService>> {
        QueryEngineOptions ours = options;
        ours.directories = {root};
        ours.window_size = window_size;
        auto queries = LocalQueries::Create(std::move(source), ours);
        if (!queries.ok()) return queries.status();
        return std::unique_ptr<QueryService>(std::move(queries).value());
      };
}

}  // namespace sightline
