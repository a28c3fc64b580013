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
namespace {

constexpr std::string_view kSourceScheme = "kafka:";

// A source that also returns the records' keys.
class KafkaCopyInput final : public CopyInput {
 public:
  KafkaCopyInput(std::unique_ptr<kafka::KafkaSource> source, std::function<Offset()> end)
      : source_(std::move(source)), end_(std::move(end)) {
    source_->KeepExtras();
  }
  Status Seek(Offset next) override { return source_->Seek(next); }
  Result<CopyBatch> Poll(int64_t records_max) override {
    Result<Batch> polled = source_->Poll(records_max);
    if (!polled.ok()) return polled.status();
    Batch& batch = polled.value();
    const std::vector<kafka::RecordExtra>& extras = source_->extras();
    CopyBatch copied{.next = batch.next, .records = {}, .storage = std::move(batch.storage)};
    copied.records.reserve(batch.records.size());
    for (size_t i = 0; i < batch.records.size(); ++i)
      copied.records.push_back({.offset = batch.records[i].offset,
                                .time = {extras[i].timestamp},
                                .key = extras[i].key,
                                .value = batch.records[i].payload,
                                .has_value = extras[i].has_value});
    return copied;
  }
  Offset end() const override { return end_(); }

 private:
  const std::unique_ptr<kafka::KafkaSource> source_;
  const std::function<Offset()> end_;
};

}  // namespace

KafkaTopic TopicToRead(const KafkaTopicState& state) {
  const auto type = state.settings.find("message.timestamp.type");
  return {.name = state.name,
          .id = state.id,
          .partitions = state.partitions,
          .log_append_time = type != state.settings.end() && type->second == "LogAppendTime"};
}

struct KafkaReader::State final : kafka::TopicRegistry {
  bool Replaced(const std::string& topic) const override {
    const std::lock_guard lock(mutex);
    return replaced.contains(topic);
  }
  void SetEnd(const std::string& topic_id, int32_t partition, Offset next,
              AppendTime newest) override {
    const std::lock_guard lock(mutex);
    LogEnd& end = ends[{topic_id, partition}];
    end.next = std::max(end.next, next);
    end.newest = std::max(end.newest, newest);
  }

  mutable std::mutex mutex;
  std::map<std::pair<std::string, int32_t>, LogEnd> ends;  // under mutex
  std::set<std::string, std::less<>> replaced;             // under mutex
  const std::function<void(std::string_view)> on_replaced = [this](std::string_view topic) {
    const std::lock_guard lock(mutex);
    replaced.emplace(topic);
  };
  int64_t ends_asked = 0;    // used by the thread of AskEnds()
  kafka::Handle client;      // declared last: its threads use the members above
  kafka::Queue end_answers;  // used by the thread of AskEnds(); belongs to the client
};

KafkaReader::KafkaReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaReader::~KafkaReader() = default;

Result<std::unique_ptr<KafkaReader>> KafkaReader::Open(const KafkaOptions& options) {
  auto state = std::make_unique<State>();
  kafka::Settings settings = kafka::ReaderSettings(options);
  settings.emplace_back("debug",
                        "metadata");  // some lines every ten seconds, which on_replaced needs
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

std::unique_ptr<CopyInput> KafkaReader::OpenCopyInput(const KafkaTopic& topic, int32_t partition) {
  return std::make_unique<KafkaCopyInput>(
      std::make_unique<kafka::KafkaSource>(state_->client.get(), *state_, topic, partition,
                                           std::function<void()>()),
      [this, id = topic.id, partition] { return EndOf(id, partition).next; });
}

void KafkaReader::AskEnds(const std::vector<KafkaTopic>& topics) {
  State& s = *state_;
  if (s.end_answers == nullptr) s.end_answers.reset(rd_kafka_queue_new(s.client.get()));
  while (const kafka::Event event = kafka::Event(rd_kafka_queue_poll(s.end_answers.get(), 0))) {
    --s.ends_asked;
    const Result<kafka::OffsetAnswer> answer = kafka::ReadOffsetAnswer(event.get());
    if (!answer.ok()) continue;  // the next answer will have it
    const auto topic = std::ranges::find(topics, answer.value().topic, &KafkaTopic::name);
    if (topic == topics.end()) continue;
    const bool is_time = answer.value().timestamp >= 0;
    // Only the answer about the newest record carries a time; its offset is not the end.
    const AppendTime newest =
        is_time && topic->log_append_time ? AppendTime{answer.value().timestamp} : kNoAppendTime;
    const Offset next = is_time ? Offset{0} : Offset{std::max<int64_t>(0, answer.value().offset)};
    s.SetEnd(topic->id, answer.value().partition, next, newest);
  }
  if (s.ends_asked > 0) return;  // earlier answers are outstanding: the broker is slow
  for (const KafkaTopic& topic : topics)
    for (int32_t p = 0; p < topic.partitions; ++p)
      for (const int64_t spec :
           {int64_t{RD_KAFKA_OFFSET_SPEC_LATEST}, int64_t{RD_KAFKA_OFFSET_SPEC_MAX_TIMESTAMP}}) {
        kafka::AskOffset(s.client.get(), topic.name, p, spec,
                         RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED, kafka::kOffsetTimeoutMs,
                         s.end_answers.get(), nullptr);
        ++s.ends_asked;
      }
}

LogEnd KafkaReader::EndOf(const std::string& topic_id, int32_t partition) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->ends.find({topic_id, partition});
  return found == state_->ends.end() ? LogEnd{} : found->second;
}

std::string KafkaSourceName(const std::string& cluster_id, const KafkaTopic& topic) {
  return fmt::format("{}{}/{}/{}", kSourceScheme, cluster_id, topic.name, topic.id);
}

std::string_view TopicOfSource(std::string_view source) {
  const size_t begin = source.find('/'), end = source.rfind('/');
  if (!source.starts_with(kSourceScheme) || begin == end) return {};
  return source.substr(begin + 1, end - begin - 1);
}

std::string_view TopicIdOfSource(std::string_view source) {
  if (TopicOfSource(source).empty()) return {};
  return source.substr(source.rfind('/') + 1);
}

}  // namespace sightline
