// DetectionLog: the port that makes accepted detections durable.
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

// Decides the topic and partition of a detection.
struct DetectionOrigin {
  CameraId camera;
  LocationId location;
};

// The records for one partition in one buffer: for each a varint length (base/bytes.h), then its
// bytes.
struct PackedRecords {
  int32_t partition = 0;
  int64_t count = 0;
  std::string bytes;
  // One per record; its camera has decided the partition. None: the record could not be decoded.
  std::vector<std::optional<DetectionOrigin>> origins;
};

// Thread-safe.
class DetectionLog {
 public:
  virtual ~DetectionLog() = default;
  virtual int32_t partitions() const = 0;
  // Takes all the records or none. When they are durable, the log calls `done` once, on its own
  // thread; if it cannot make them durable, `done` gets kRetry with the reason, for example a full
  // disk. False: the queue is full, and `done` is never called; the sender should try again.
  virtual bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) = 0;
};

}  // namespace sightline
