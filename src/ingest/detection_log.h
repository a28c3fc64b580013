// DetectionLog: the port through which accepted detections become durable.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

// What decides where a detection goes.
struct DetectionOrigin {
  CameraId camera;
  LocationId location;
};

// Records for one partition, packed: each a varint length (base/bytes.h) and its bytes.
struct PackedRecords {
  int32_t partition = 0;
  int64_t count = 0;
  std::string bytes;
  // Of each record; its camera has decided the partition. None: it could not be read.
  std::vector<std::optional<DetectionOrigin>> origins;
};

// Thread-safe.
class DetectionLog {
 public:
  virtual ~DetectionLog() = default;
  virtual int32_t partitions() const = 0;
  // Takes all the records or none. `done` is called once, on the log's thread, when they are
  // durable (or could not be made so: kRetry with the reason, e.g. the disk is full). False, and
  // `done` is never called: the queue is full, ask the sender to come again.
  virtual bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) = 0;
};

}  // namespace sightline
