// LocalQueries: a QueryService that computes in this process, for commands and tests.
#pragma once

#include <memory>

#include "query/query_service.h"

namespace sightline {

class LocalQueries final : public QueryService {
 public:
  static Result<std::unique_ptr<LocalQueries>> Create(std::shared_ptr<LakeSource> source,
                                                      const QueryEngineOptions& options);
  AnswerEnd Answer(const Question& question, const QueryLimits& limits,
                   const AnswerSink& sink) override;
  void Interrupt() override { engine_->Interrupt(); }
  std::string trouble() override { return engine_->trouble(); }
  QueryEngine& engine() { return *engine_; }

 private:
  LocalQueries(std::shared_ptr<LakeSource> source, Millis window_size,
               std::unique_ptr<QueryEngine> engine);
  const std::unique_ptr<QueryEngine> engine_;
};

// The lake's own directory is the only one that questions can read.
OpenQueries OpenLocalQueries(QueryEngineOptions options);

}  // namespace sightline
