#include "connectors/kafka/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
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

struct KafkaReader::State final : kafka::Board {
  bool Replaced(const std::string& topic) const override {
    const std::lock_guard lock(mutex);
    return replaced.contains(topic);
  }
  void SetEnd(const std::string& topic_id, int32_t partition, Offset next,
              AppendTime newest) override {
    const std::lock_guard lock(mutex);
    KafkaEnd& end = ends[{topic_id, partition}];
    end.next = std::max(end.next, next);
    end.newest = std::max(end.newest, newest);
  }

  mutable std::mutex mutex;
  std::map<std::pair<std::string, int32_t>, KafkaEnd> ends;  // under mutex
  std::set<std::string, std::less<>> replaced;               // under mutex
  const std::function<void(std::string_view)> on_replaced = [this](std::string_view topic) {
    const std::lock_guard lock(mutex);
    replaced.emplace(topic);
  };
  kafka::Handle client;  // last: its threads use the rest
};

KafkaReader::KafkaReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaReader::~KafkaReader() = default;

Result<std::unique_ptr<KafkaReader>> KafkaReader::Open(const KafkaOptions& options) {
  auto state = std::make_unique<State>();
  kafka::Settings settings = kafka::ReaderSettings(options);
  settings.emplace_back("debug", "metadata");  // some lines every ten seconds: for on_replaced
  settings.emplace_back("log_level", "7");
  Result<kafka::Handle> client =
      kafka::MakeClient(RD_KAFKA_CONSUMER, options, settings, {.on_replaced = &state->on_replaced});
  if (!client.ok()) return client.status();
  state->client = std::move(client).value();
  return std::unique_ptr<KafkaReader>(new KafkaReader(std::move(state)));
}

std::unique_ptr<Source> KafkaReader::OpenSource(const KafkaTopic& topic, int32_t partition,
                                                std::function<void()> wake) {
  return std::make_unique<kafka::KafkaSource>(state_->client.get(), *state_, topic, partition,
                                              std::move(wake));
}

KafkaEnd KafkaReader::EndOf(const std::string& topic_id, int32_t partition) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->ends.find({topic_id, partition});
  return found == state_->ends.end() ? KafkaEnd{} : found->second;
}

std::string KafkaSourceName(const std::string& cluster_id, const KafkaTopic& topic) {
  return fmt::format("kafka:{}/{}/{}", cluster_id, topic.name, topic.id);
}

}  // namespace sightline
