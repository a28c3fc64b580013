// RawLog: where raw detections lie - the embedded log, or topics of Kafka. The engine reads them
// there, the server's posts go there.
//
// Thread-safe but for Watch() and Look(). Only processes/up.cc names it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metric.h"
#include "base/status.h"
#include "config/options.h"
#include "connectors/embedded_log/log.h"
#include "engine/source.h"
#include "ingest/detection_log.h"
#include "live/completeness.h"
#include "model/types.h"

namespace sightline {

constexpr std::string_view kRawTopic = "raw_camera_events";

class RawLog {
 public:
  virtual ~RawLog() = default;
  // By their identity (docs/SEMANTICS.md, "Source identity").
  virtual std::vector<SourcePartition> Partitions() const = 0;
  // Of a partition that is not read any more: nothing.
  virtual LogEnd EndOf(const SourcePartition& partition) const = 0;
  // From now on `wake` is called when a partition may have more to read, until Unwatch(). Once,
  // before the first source.
  virtual void Watch(std::function<void(const SourcePartition&)> wake) = 0;
  virtual void Unwatch() = 0;
  // Null: there is no such partition any more.
  virtual std::unique_ptr<Source> OpenSource(const SourcePartition& partition) = 0;
  virtual DetectionLog& detections() = 0;
  // Looks for topics that are new or gone; may wait a second for the answer. One that was deleted
  // and made again is another source: in both lists.
  struct Change {
    std::vector<SourcePartition> gone, found;
  };
  virtual Change Look() { return {}; }
  virtual Status Health() const { return Status::Ok(); }
  // Why nobody knows when a record came (docs/KAFKA.md, "clock_unguarded"); empty: it is known.
  virtual std::string ClockUnguarded() const { return {}; }
  virtual void CollectMetrics(std::vector<Metric>& metrics) const = 0;
};

// `log` outlives it.
std::unique_ptr<RawLog> OpenEmbeddedRawLog(EmbeddedLog* log);

class KafkaRawTopics;
// kStop: options that cannot be.
// `queue_bytes_max`: of posted detections that the brokers have not acknowledged.
Result<std::unique_ptr<RawLog>> OpenKafkaRawLog(const KafkaSettings& settings,
                                                std::shared_ptr<KafkaRawTopics> topics,
                                                int64_t queue_bytes_max);

}  // namespace sightline
