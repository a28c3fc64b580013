// KafkaDetections: accepted detections into the raw topic, keyed by camera.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/producer.h"
#include "server/detection_log.h"

namespace sightline {

// Thread-safe.
class KafkaDetections final : public DetectionLog {
 public:
  KafkaDetections(std::unique_ptr<KafkaProducer> producer, std::string topic, int32_t partitions)
      : producer_(std::move(producer)), topic_(std::move(topic)), partitions_(partitions) {}

  int32_t partitions() const override { return partitions_; }
  // The topic was made again with so many.
  void SetPartitions(int32_t partitions) { partitions_ = partitions; }
  bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) override;
  int64_t bytes() const { return producer_->bytes(); }

 private:
  const std::unique_ptr<KafkaProducer> producer_;
  const std::string topic_;
  std::atomic<int32_t> partitions_;
};

}  // namespace sightline
