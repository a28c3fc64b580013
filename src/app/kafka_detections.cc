#include "app/kafka_detections.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/bytes.h"

namespace sightline {

bool KafkaDetections::Append(std::vector<PackedRecords> records, std::function<void(Status)> done) {
  std::vector<KafkaProducer::Part> parts;
  parts.reserve(records.size());
  for (const PackedRecords& packed : records) {
    KafkaProducer::Part& part = parts.emplace_back();
    part.partition = packed.partition;
    part.records.reserve(packed.cameras.size());
    ByteReader in(packed.bytes);
    for (const std::optional<CameraId>& camera : packed.cameras) {
      std::optional<std::string> key;
      if (camera) key = fmt::format("{}", camera->v);
      part.records.push_back({.key = std::move(key), .value = in.String()});
    }
  }
  return producer_->Append(topic_, parts, std::move(done));
}

}  // namespace sightline
