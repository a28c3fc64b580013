// RawLog: where raw detections lie - the embedded log, or topics of Kafka. The engine reads them
// from there, and the server's posts go there.
//
// Thread-safe, but for Look(), which only the main thread calls.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/metric.h"
#include "base/status.h"
#include "connectors/embedded_log/log.h"
#include "engine/source.h"
#include "ingest/detection_log.h"
#include "model/log_end.h"
#include "model/types.h"

namespace sightline {

constexpr std::string_view kRawTopic = "raw_camera_events";

// What a raw log reports about itself.
struct RawLogReport {
  Status health = Status::Ok();
  // Why nobody knows when a record was appended (docs/KAFKA.md, "clock_unguarded"). Empty: it is
  // known of each.
  std::string clock_unguarded;
  std::vector<Metric> metrics;
};

class RawLog {
 public:
  virtual ~RawLog() = default;
  // By their identity (docs/SEMANTICS.md, "Source identity").
  virtual std::vector<SourcePartition> Partitions() const = 0;
  // Of a partition that is not read any more: nothing.
  virtual LogEnd EndOf(const SourcePartition& partition) const = 0;
  // `wake` is called, on another thread, when the partition may have more to read, as long as the
  // source lives. Null: there is no such partition any more.
  virtual std::unique_ptr<Source> OpenSource(const SourcePartition& partition,
                                             std::function<void()> wake) = 0;
  // Looks for topics that are new or gone; may wait a second for the answer. A topic that was
  // deleted and made again is another source: it is in both lists.
  struct Change {
    std::vector<SourcePartition> gone, found;
  };
  virtual Change Look() { return {}; }
  virtual RawLogReport Report() const = 0;
};

// A raw log, and where the server's posts go; `detections` is part of the log.
struct OpenedRawLog {
  std::unique_ptr<RawLog> log;
  DetectionLog* detections = nullptr;
};

// `log` outlives it.
OpenedRawLog OpenEmbeddedRawLog(EmbeddedLog* log);

class KafkaRawTopics;
// kStop: the client refuses its options. `queue_bytes_max`: of posted detections that the brokers
// have not acknowledged.
Result<OpenedRawLog> OpenKafkaRawLog(std::shared_ptr<KafkaRawTopics> topics,
                                     int64_t queue_bytes_max);

}  // namespace sightline
