// What the components of a process get of its settings: one place, so that `up`, `count`, `serve`
// and `store` cannot differ. Pure but for OpenCountsWriter(), which asks the brokers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"
#include "history/lake_service.h"
#include "live/live.h"
#include "model/types.h"
#include "processes/kafka_raw_topics.h"
#include "query/query_engine.h"

namespace sightline {

RuntimeOptions RuntimeOptionsOf(const EngineSettings& settings);
QueryEngineOptions QueryOptionsOf(const QuerySettings& settings);
// Of the pages' panes. `log_end`: see Completeness.
LiveOptions LiveOptionsOf(const Settings& settings, LogEndOf log_end);
// The caller adds location_name, and runs and query where it answers questions.
LakeServiceOptions LakeOptionsOf(const Settings& settings, std::string dir);

// The locations' names, and which version of the table they are of. Thread-safe; they outlive the
// writer.
struct LocationNames {
  std::function<std::string(LocationId)> name;
  std::function<int64_t()> version;
};
// The writer of the counts' topics. kStop: a topic is not there, the settings are refused, or
// SIGTERM came while this waited.
Result<std::unique_ptr<KafkaWriter>> OpenCountsWriter(const Settings& settings, KafkaRawTopics& raw,
                                                      LocationNames locations);

}  // namespace sightline
