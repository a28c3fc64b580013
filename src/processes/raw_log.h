// RawLog: where raw detections are stored, in the embedded log or in topics of Kafka. The engine
// reads them there, and the server writes its posts there.
//
// Thread-safe, except Look(), which only the main thread calls.
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
  // Why the append times are not the brokers' (docs/KAFKA.md, "clock_unguarded"). Empty: they are.
  std::string clock_unguarded;
  std::vector<Metric> metrics;
};

class RawLog {
 public:
  virtual ~RawLog() = default;
  // The partitions, each with the identity of its source (docs/SEMANTICS.md, "Source identity").
  virtual std::vector<SourcePartition> Partitions() const = 0;
  // The end of a partition. Empty if it is no longer read.
  virtual LogEnd EndOf(const SourcePartition& partition) const = 0;
  // As long as the source lives, another thread calls `wake` when the partition may have more to
  // read. Null: the partition no longer exists.
  virtual std::unique_ptr<Source> OpenSource(const SourcePartition& partition,
                                             std::function<void()> wake) = 0;
  // Looks for topics that were created or deleted. It may wait a second for the answer. A topic
  // that was deleted and created again is another source, and is in both lists.
  struct Change {
    std::vector<SourcePartition> gone, found;
  };
  virtual Change Look() { return {}; }
  virtual RawLogReport Report() const = 0;
};

// A raw log, and the port for the server's posts, which is part of it.
struct OpenedRawLog {
  std::unique_ptr<RawLog> log;
  DetectionLog* detections = nullptr;
};

// `log` must outlive the result.
OpenedRawLog OpenEmbeddedRawLog(EmbeddedLog* log);

class KafkaRawTopics;
// kStop: the client refuses its options. `queue_bytes_max` limits the posted detections that the
// brokers have not acknowledged.
Result<OpenedRawLog> OpenKafkaRawLog(std::shared_ptr<KafkaRawTopics> topics,
                                     int64_t queue_bytes_max);

}  // namespace sightline
