#include "connectors/kafka/kafka_detections.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/murmur2.h"

namespace sightline {

void KafkaDetections::SetTopics(Topics topics) {
  const std::lock_guard lock(mutex_);
  topics_ = std::move(topics);
}

// By location the partition is decided by the topic.
int32_t KafkaDetections::partitions() const {
  if (name_.by_location()) return 1;
  const std::lock_guard lock(mutex_);
  return topics_.empty() ? 1 : topics_.begin()->second;
}

const KafkaDetections::Topics::value_type* KafkaDetections::TopicOf(
    const Topics& topics, const std::optional<DetectionOrigin>& origin) const {
  auto topic = origin ? topics.find(name_.Of(origin->location)) : topics.end();
  if (topic == topics.end()) topic = topics.find(name_.Other());
  return topic == topics.end() ? nullptr : &*topic;
}

bool KafkaDetections::Append(std::vector<PackedRecords> records, std::function<void(Status)> done) {
  Topics topics;
  {
    const std::lock_guard lock(mutex_);
    topics = topics_;
  }
  std::map<std::pair<std::string_view, int32_t>, KafkaProducer::Part> parts;
  const auto put = [&parts](std::string_view topic, int32_t partition, KafkaRecord record) {
    KafkaProducer::Part& part = parts[{topic, partition}];
    if (part.records.empty()) {
      part.topic = topic;
      part.partition = partition;
    }
    part.records.push_back(std::move(record));
  };
  const std::string one = name_.text();
  for (const PackedRecords& packed : records) {
    ByteReader in(packed.bytes);
    for (const std::optional<DetectionOrigin>& origin : packed.origins) {
      std::optional<std::string> key;
      if (origin) key = fmt::format("{}", origin->camera.v);
      KafkaRecord record{.key = std::move(key), .value = in.String()};
      if (!name_.by_location()) {
        put(one, packed.partition, std::move(record));
        continue;
      }
      const Topics::value_type* const topic = TopicOf(topics, origin);
      if (topic == nullptr) {
        producer_->Refuse(
            Status::Retry(fmt::format(
                "there is no topic '{}' for what belongs to a location without a topic of its own: "
                "`sightline topics apply` makes it",
                name_.Other())),
            std::move(done));
        return true;
      }
      put(topic->first, origin ? PartitionOfKey(origin->camera.v, topic->second) : 0,
          std::move(record));
    }
  }
  std::vector<KafkaProducer::Part> all;
  all.reserve(parts.size());
  for (auto& [where, part] : parts) all.push_back(std::move(part));
  return producer_->Append(all, std::move(done));
}

}  // namespace sightline
