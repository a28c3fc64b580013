// KafkaDetections: accepted detections into the raw topic, keyed by camera; or into the topic of
// their location, where there is one a location.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/producer.h"
#include "connectors/kafka/raw_topic_name.h"
#include "ingest/detection_log.h"

namespace sightline {

// Thread-safe.
class KafkaDetections final : public DetectionLog {
 public:
  // Topics that are there, with the number of their partitions.
  using Topics = std::map<std::string, int32_t, std::less<>>;

  KafkaDetections(std::unique_ptr<KafkaProducer> producer, RawTopicName name, Topics topics)
      : producer_(std::move(producer)), name_(std::move(name)), topics_(std::move(topics)) {}

  void SetTopics(Topics topics);
  int32_t partitions() const override;
  // A location without a topic goes into the one of all others; where there is none of them either,
  // the sender is told to try again later.
  bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) override;
  int64_t bytes() const { return producer_->bytes(); }

 private:
  // Where the detections of a location go, by location; null: nowhere.
  const Topics::value_type* TopicOf(const Topics& topics,
                                    const std::optional<DetectionOrigin>& origin) const;

  const std::unique_ptr<KafkaProducer> producer_;
  const RawTopicName name_;
  mutable std::mutex mutex_;
  Topics topics_;  // under mutex_
};

}  // namespace sightline
