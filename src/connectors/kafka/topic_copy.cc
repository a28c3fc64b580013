#include "connectors/kafka/topic_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "base/log.h"
#include "connectors/kafka/partition_bounds.h"

namespace sightline {
namespace {

constexpr Millis kAskTime{5'000};

std::string Setting(const KafkaTopicState& topic, const std::string& name) {
  const auto found = topic.settings.find(name);
  return found == topic.settings.end() ? "" : found->second;
}

int64_t Number(const std::string& text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

Status CheckCopyTopics(const CopyTopics& topics) {
  if (topics.from.id == topics.to.id)
    return Status::Stop(
        fmt::format("'{}' cannot be copied into itself: give two topics", topics.from.name));
  if (Setting(topics.to, "cleanup.policy").find("compact") != std::string::npos)
    return Status::Stop(fmt::format(
        "topic '{}' is compacted and would keep one detection a camera: set cleanup.policy=delete "
        "(`sightline topics apply --kafka.topic {}`)",
        topics.to.name, topics.to.name));
  return Status::Ok();
}

std::vector<std::string> WarnOfCopyTopics(const CopyTopics& topics) {
  std::vector<std::string> warnings;
  if (!TopicToRead(topics.to).log_append_time)
    warnings.push_back(fmt::format(
        "topic '{}' has the senders' times, not the broker's: what reads it is clock_unguarded; "
        "set message.timestamp.type=LogAppendTime",
        topics.to.name));
  if (!TopicToRead(topics.from).log_append_time)
    warnings.push_back(fmt::format(
        "topic '{}' has the senders' times, not the broker's: its partitions are read in step of "
        "these",
        topics.from.name));
  const int64_t from_max = Number(Setting(topics.from, "max.message.bytes"));
  const int64_t to_max = Number(Setting(topics.to, "max.message.bytes"));
  if (to_max < from_max)
    warnings.push_back(fmt::format(
        "topic '{}' takes messages of up to {} bytes and '{}' has some of up to {}: one that is "
        "larger stops the copy",
        topics.to.name, to_max, topics.from.name, from_max));
  return warnings;
}

std::string NoTopicToWrite(const std::string& topic, const std::string& brokers) {
  return fmt::format(
      "there is no topic '{}' at {}: make it with `sightline topics apply --kafka.topic {} "
      "--kafka.partitions NUMBER`",
      topic, brokers, topic);
}

Status CheckEmpty(const KafkaOptions& kafka, const KafkaTopic& to) {
  const Result<std::vector<PartitionBounds>> bounds =
      ReadPartitionBounds(kafka, to.name, to.partitions, {0}, kAskTime);
  if (!bounds.ok()) return bounds.status();
  if (std::ranges::all_of(bounds.value(), &PartitionBounds::empty)) return Status::Ok();
  return Status::Stop(
      fmt::format("topic '{}' has records, and nobody knows how far it was copied into", to.name));
}

Result<std::unique_ptr<KafkaCopy>> TopicCopy::Open(const std::atomic<bool>& stop) {
  auto copy = std::make_unique<KafkaCopy>(options_.copy, stop);
  RETURN_IF_ERROR(copy->Fence());
  const Result<std::vector<Offset>> from = StartOf(*copy);
  if (!from.ok()) return from.status();
  Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(options_.copy.kafka);
  if (!reader.ok()) return reader.status();
  reader_ = std::move(reader).value();
  std::vector<std::unique_ptr<CopyInput>> inputs;
  for (int32_t p = 0; p < options_.from.partitions; ++p)
    inputs.push_back(reader_->OpenCopyInput(options_.from, p));
  RETURN_IF_ERROR(copy->Begin(std::move(inputs), from.value(), until_));
  LogInfo(fmt::format("'{}' is copied into '{}' from the offsets {}", options_.from.name,
                      options_.copy.to.name,
                      fmt::join(
                          [&] {
                            std::vector<int64_t> offsets;
                            for (const Offset offset : from.value()) offsets.push_back(offset.v);
                            return offsets;
                          }(),
                          " ")));
  return copy;
}

Result<std::vector<Offset>> TopicCopy::StartOf(KafkaCopy& copy) {
  const KafkaTopic& topic = options_.from;
  const Result<std::map<int32_t, Offset>> known = copy.Positions(topic.partitions);
  if (!known.ok()) return known.status();
  if (known.value().empty() && options_.only_into_empty) {
    const Status empty = CheckEmpty(options_.copy.kafka, options_.copy.to);
    if (empty.code() == StatusCode::kStop)
      return Status::Stop(empty.message() +
                          ": take an empty one, or say with --start-at TIME where to begin");
    RETURN_IF_ERROR(empty);
  }
  const Result<std::vector<PartitionBounds>> bounds =
      ReadPartitionBounds(options_.copy.kafka, topic.name, topic.partitions,
                          options_.start_at.value_or(AppendTime{0}), kAskTime);
  if (!bounds.ok()) return bounds.status();
  std::vector<Offset> from, until;
  for (int32_t p = 0; p < topic.partitions; ++p) {
    const PartitionBounds& b = bounds.value()[static_cast<size_t>(p)];
    const auto stored = known.value().find(p);
    from.push_back(stored != known.value().end() ? stored->second
                   : options_.start_at           ? b.from
                                                 : b.earliest);
    until.push_back(b.end);
    if (from.back() < b.earliest || from.back() > b.end)
      return Status::Stop(fmt::format(
          "topic '{}' partition {} was copied up to offset {} and has [{}, {}) now: {}; to go on "
          "without them, set the offset with `kafka-consumer-groups --reset-offsets --group {} "
          "--topic {}:{}`",
          topic.name, p, from.back().v, b.earliest.v, b.end.v,
          from.back() < b.earliest ? "retention has removed records before they were copied"
                                   : "it has lost records",
          options_.copy.name, options_.copy.offsets_topic, p));
  }
  if (options_.until_end && !until_) until_ = until;
  return from;
}

}  // namespace sightline
