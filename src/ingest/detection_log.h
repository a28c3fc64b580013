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

// What decides the topic and partition of a detection.
struct DetectionOrigin {
  CameraId camera;
  LocationId location;
};

// Records for one partition in one buffer: each has its length as a varint (base/bytes.h) and then
// its bytes.
struct PackedRecords {
  int32_t partition = 0;
  int64_t count = 0;
  std::string bytes;
  // One per record. The camera has decided the partition. Nothing: the record cannot be decoded.
  std::vector<std::optional<DetectionOrigin>> origins;
};

// Thread-safe.
class DetectionLog {
 public:
  virtual ~DetectionLog() = default;
  virtual int32_t partitions() const = 0;
  // Takes all records or none. Calls `done` once, on the log's thread: with kOk when the records
  // are durable, or with kRetry and the reason if that failed, for example because the disk is
  // full. False: the queue is full, and `done` is never called; the sender must try again later.
  virtual bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) = 0;
};

}  // namespace sightline
