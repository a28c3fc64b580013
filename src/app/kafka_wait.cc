#include "app/kafka_wait.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.h"

namespace sightline {
namespace {

constexpr std::chrono::milliseconds kAskAgain{50};
constexpr std::chrono::seconds kPatience{3};
constexpr std::chrono::seconds kTellAgain{30};

// Asks until there is an answer or a reason to stop.
template <typename Ask>
auto AskUntil(const Ask& ask, const std::string& brokers, const std::function<bool()>& give_up)
    -> decltype(ask()) {
  auto tell_from = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    auto answer = ask();
    if (answer.ok() || answer.status().code() == StatusCode::kStop) return answer;
    if (std::chrono::steady_clock::now() > tell_from) {
      LogWarning(fmt::format("waiting for Kafka at {}: {}", brokers, answer.status().message()));
      tell_from = std::chrono::steady_clock::now() + kTellAgain;
    }
    if (give_up()) return Status::Stop("stopped while waiting for Kafka at " + brokers);
    std::this_thread::sleep_for(kAskAgain);
  }
}

}  // namespace

Result<std::string> WaitForCluster(KafkaAdmin& admin, const UpOptions& options,
                                   const std::function<bool()>& give_up) {
  return AskUntil([&admin] { return admin.ClusterId(); }, options.kafka.brokers, give_up);
}

Result<std::optional<KafkaTopicState>> WaitForTopicState(KafkaAdmin& admin,
                                                         const UpOptions& options,
                                                         const std::string& topic,
                                                         const std::function<bool()>& give_up) {
  return AskUntil([&] { return admin.Describe(topic); }, options.kafka.brokers, give_up);
}

Result<KafkaTopic> WaitForTopic(KafkaAdmin& admin, const UpOptions& options,
                                const std::string& topic, const std::function<bool()>& give_up) {
  Result<std::optional<KafkaTopicState>> described =
      WaitForTopicState(admin, options, topic, give_up);
  if (!described.ok()) return described.status();
  if (!described.value())
    return Status::Stop(fmt::format(
        "there is no topic '{}' at {}: `sightline topics apply` makes it and the others", topic,
        options.kafka.brokers));
  return TopicToRead(*described.value());
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
