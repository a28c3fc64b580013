#include "connectors/kafka/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "connectors/kafka/client.h"
#include "connectors/kafka/source.h"

namespace sightline {

KafkaTopic TopicToRead(const KafkaTopicState& state) {
  const auto type = state.settings.find("message.timestamp.type");
  return {.name = state.name,
          .id = state.id,
          .partitions = state.partitions,
          .log_append_time = type != state.settings.end() && type->second == "LogAppendTime"};
}

struct KafkaReader::State final : kafka::EndBoard {
  void SetEnd(const std::string& topic, int32_t partition, Offset next,
              AppendTime newest) override {
    const std::lock_guard lock(mutex);
    KafkaEnd& end = ends[{topic, partition}];
    end.next = std::max(end.next, next);
    end.newest = std::max(end.newest, newest);
  }

  mutable std::mutex mutex;
  std::map<std::pair<std::string, int32_t>, KafkaEnd> ends;  // under mutex
  kafka::Handle client;
};

KafkaReader::KafkaReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaReader::~KafkaReader() = default;

Result<std::unique_ptr<KafkaReader>> KafkaReader::Open(const KafkaOptions& options) {
  Result<kafka::Handle> client =
      kafka::MakeClient(RD_KAFKA_CONSUMER, options, kafka::ReaderSettings(options));
  if (!client.ok()) return client.status();
  auto state = std::make_unique<State>();
  state->client = std::move(client).value();
  return std::unique_ptr<KafkaReader>(new KafkaReader(std::move(state)));
}

std::unique_ptr<Source> KafkaReader::OpenSource(const KafkaTopic& topic, int32_t partition,
                                                std::function<void()> wake) {
  return std::make_unique<kafka::KafkaSource>(state_->client.get(), *state_, topic.name, partition,
                                              topic.log_append_time, std::move(wake));
}

KafkaEnd KafkaReader::EndOf(const std::string& topic, int32_t partition) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->ends.find({topic, partition});
  return found == state_->ends.end() ? KafkaEnd{} : found->second;
}

std::string KafkaSourceName(const std::string& cluster_id, const KafkaTopic& topic) {
  return fmt::format("kafka:{}/{}/{}", cluster_id, topic.name, topic.id);
}

}  // namespace sightline
