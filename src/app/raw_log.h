// RawLog: where raw detections lie - the embedded log, or a topic of Kafka. The engine reads them
// there, the server's posts go there.
//
// Thread-safe but for Watch(), Changed() and Renew(). Only app/up.cc names it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/options.h"
#include "base/status.h"
#include "connectors/embedded_log/log.h"
#include "engine/source.h"
#include "live/completeness.h"
#include "model/types.h"
#include "server/detection_log.h"
#include "server/server.h"

namespace sightline {

constexpr std::string_view kRawTopic = "raw_camera_events";

class RawLog {
 public:
  virtual ~RawLog() = default;
  virtual int32_t partitions() const = 0;
  // Its identity (docs/SEMANTICS.md, "Source identity").
  virtual SourcePartition Partition(int32_t partition) const = 0;
  // Of a partition that is not read any more: nothing.
  virtual LogEnd EndOf(const SourcePartition& partition) const = 0;
  // From now on `wake` is called when a partition may have more to read, until Unwatch(). Once,
  // before the first source.
  virtual void Watch(std::function<void(int32_t partition)> wake) = 0;
  virtual void Unwatch() = 0;
  virtual std::unique_ptr<Source> OpenSource(int32_t partition) = 0;
  virtual DetectionLog& detections() = 0;
  // Asks whether what is read is still what it was; may wait a second for the answer. True: it is
  // another source (a topic was deleted and made again): stop the engine, Renew(), start it again.
  virtual bool Changed() { return false; }
  virtual Status Renew() { return Status::Ok(); }
  virtual Status Health() const { return Status::Ok(); }
  // Why nobody knows when a record came (docs/KAFKA.md, "clock_unguarded"); empty: it is known.
  virtual std::string ClockUnguarded() const { return {}; }
  virtual void Gather(std::vector<Metric>& metrics) const = 0;
};

// `log` outlives it.
std::unique_ptr<RawLog> OpenEmbeddedRawLog(EmbeddedLog* log);

// Waits for the cluster, saying so, until `give_up` says true (kStop then). kStop: no such topic,
// or options that cannot be.
Result<std::unique_ptr<RawLog>> OpenKafkaRawLog(const UpOptions& options,
                                                const std::function<bool()>& give_up);

}  // namespace sightline
