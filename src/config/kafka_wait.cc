#include "config/kafka_wait.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <utility>

#include "base/log.h"

namespace sightline {
namespace {

constexpr std::chrono::seconds kPatience{3};
constexpr std::chrono::seconds kTellAgain{30};

}  // namespace

KafkaPatience::KafkaPatience(std::string brokers)
    : brokers_(std::move(brokers)), tell_from_(std::chrono::steady_clock::now() + kPatience) {}

void KafkaPatience::Waiting(const Status& why) {
  if (std::chrono::steady_clock::now() < tell_from_) return;
  LogWarning(fmt::format("waiting for Kafka at {}: {}", brokers_, why.message()));
  tell_from_ = std::chrono::steady_clock::now() + kTellAgain;
}

Status KafkaPatience::GivenUp() const {
  return Status::Stop("stopped while waiting for Kafka at " + brokers_);
}

Result<std::string> WaitForCluster(KafkaAdmin& admin, const KafkaSettings& settings,
                                   const std::function<bool()>& give_up) {
  return WaitForKafka(settings, give_up, [&admin] { return admin.ClusterId(); });
}

Result<KafkaTopic> WaitForTopic(KafkaAdmin& admin, const KafkaSettings& settings,
                                const std::string& topic, const std::function<bool()>& give_up) {
  const Result<std::optional<KafkaTopicState>> described =
      WaitForKafka(settings, give_up, [&] { return admin.Describe(topic); });
  if (!described.ok()) return described.status();
  if (!described.value()) return NoTopic(settings, topic);
  return TopicToRead(*described.value());
}

Status NoTopic(const KafkaSettings& settings, const std::string& topic) {
  return Status::Stop(
      fmt::format("there is no topic '{}' at {}: `sightline topics apply` makes it and the others",
                  topic, settings.client.brokers));
}

std::string ClockUnguarded(const KafkaTopic& topic) {
  if (topic.log_append_time) return {};
  return fmt::format(
      "topic '{}' has the senders' times, not the broker's: detections from the future and very "
      "old "
      "ones are not refused; set message.timestamp.type=LogAppendTime",
      topic.name);
}

}  // namespace sightline
