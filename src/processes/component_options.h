// Turns the settings of a process into the options of its components. It is done in one place, so
// that `up`, `count`, `serve` and `store` cannot differ. Every function is pure except
// OpenCountsWriter(), which asks the brokers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"
#include "history/lake_reader.h"
#include "history/lake_service.h"
#include "live/live.h"
#include "model/types.h"
#include "processes/kafka_raw_topics.h"
#include "query/query_service.h"
#include "workers/query_workers.h"

namespace sightline {

RuntimeOptions RuntimeOptionsOf(const EngineSettings& settings);
QueryWorkersOptions QueryWorkersOptionsOf(const QuerySettings& settings);
// Makes the processes that answer queries. They may read the folders `read` besides the lake's.
OpenQueries OpenQueryWorkers(const QuerySettings& settings, std::vector<std::string> read);
// What answering queries may take, in plain words.
std::string ExplainQueryWorkers(const QuerySettings& settings);
// The options of the page's panes. Completeness explains `log_end`.
LiveOptions LiveOptionsOf(const Settings& settings, LogEndOf log_end);
// The caller sets location_name. A process that answers queries also sets runs and open_queries.
LakeServiceOptions LakeOptionsOf(const Settings& settings, std::string dir);
// Of a process that only reads lake.dir.
LakeReaderOptions LakeReaderOptionsOf(const Settings& settings, std::string cache);

// The names of the locations, and the version of the table that they come from. Both functions are
// thread-safe and outlive the writer.
struct LocationNames {
  std::function<std::string(LocationId)> name;
  std::function<int64_t()> version;
};
// Opens the writer of the topics of counts. kStop: a topic does not exist, the client refuses the
// settings, or SIGTERM arrived during the wait.
Result<std::unique_ptr<KafkaWriter>> OpenCountsWriter(const Settings& settings, KafkaRawTopics& raw,
                                                      LocationNames locations);

}  // namespace sightline
