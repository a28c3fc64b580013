#include "telemetry/monitor_topics.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/murmur2.h"
#include "config/kafka_options.h"
#include "config/kafka_wait.h"

namespace sightline {
namespace {

constexpr int64_t kBytesMax = 1 << 20;  // of records that are not yet acknowledged
constexpr Millis kDeliveryTime{10'000};
constexpr size_t kAlertsWaitingMax = 1'000;
constexpr std::chrono::seconds kLookAgain{10};
constexpr std::chrono::milliseconds kFlushPoll{5};

// The partitioner of the Java client, so that a key stays in its partition whoever writes it.
int32_t PartitionOf(const std::string& key, int32_t partitions) {
  return static_cast<int32_t>((Murmur2(key) & 0x7fffffff) % static_cast<uint32_t>(partitions));
}

}  // namespace

Result<std::unique_ptr<MonitorTopics>> MonitorTopics::Open(const KafkaSettings& settings) {
  const bool none = settings.monitoring_topic.empty() && settings.alerts_topic.empty();
  if (!settings.enabled() || !settings.publish || none) return std::unique_ptr<MonitorTopics>();
  Result<KafkaOptions> kafka = MakeKafkaOptions(settings);
  if (!kafka.ok()) return kafka.status();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka.value(), kKafkaAskTime);
  if (!admin.ok()) return admin.status();
  Result<std::unique_ptr<KafkaProducer>> producer = KafkaProducer::Open(
      {.kafka = kafka.value(), .bytes_max = kBytesMax, .delivery_timeout = kDeliveryTime});
  if (!producer.ok()) return producer.status();
  std::unique_ptr<MonitorTopics> topics(new MonitorTopics);
  topics->monitoring_.name = settings.monitoring_topic;
  topics->alerts_.name = settings.alerts_topic;
  topics->admin_ = std::move(admin).value();
  topics->producer_ = std::move(producer).value();
  return topics;
}

void MonitorTopics::Look() {
  for (Topic* topic : {&monitoring_, &alerts_}) {
    if (topic->name.empty() || topic->partitions > 0) continue;
    const Result<std::optional<KafkaTopicState>> found = admin_->Describe(topic->name);
    if (found.ok() && found.value()) {
      topic->partitions = found.value()->partitions;
      continue;
    }
    const std::string why =
        found.ok() ? fmt::format("there is no topic '{}': `sightline topics apply` creates it",
                                 topic->name)
                   : found.status().message();
    if (std::exchange(topic->logged, why) != why)
      LogWarning(fmt::format("nothing is published to '{}' yet: {}", topic->name, why));
  }
}

void MonitorTopics::PublishMonitoring(const std::string& key, const std::string& value) {
  if (monitoring_.partitions == 0) return;
  const auto done = [dropped = dropped_](const Status& status) {
    if (!status.ok()) ++*dropped;
  };
  if (!Append(monitoring_, {{key, value}}, done)) ++*dropped_;
}

void MonitorTopics::QueueAlert(std::string key, std::string value) {
  if (alerts_.name.empty()) return;
  if (waiting_.size() >= kAlertsWaitingMax && sent_ < waiting_.size()) {
    // Drop the oldest alert that is not in flight.
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(sent_));
    ++*dropped_;
  }
  waiting_.push_back({std::move(key), std::move(value)});
}

void MonitorTopics::Work() {
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ >= kLookAgain) {
    Look();
    looked_ = std::chrono::steady_clock::now();
  }
  const Sending sending = sending_->load();
  if (sending == Sending::kInFlight) return;
  if (sending == Sending::kDone)
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(sent_));
  sent_ = 0;
  *sending_ = Sending::kIdle;
  if (waiting_.empty() || alerts_.partitions == 0) return;
  // All alerts are sent in order. If one fails, all are sent again: so the last record of a key
  // always has its newest state.
  *sending_ = Sending::kInFlight;
  sent_ = waiting_.size();
  const bool taken = Append(alerts_, waiting_, [sending = sending_](const Status& status) {
    *sending = status.ok() ? Sending::kDone : Sending::kFailed;
  });
  if (!taken) *sending_ = Sending::kFailed;
}

void MonitorTopics::Flush(Millis deadline) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline.v);
  do {
    Work();
    if (waiting_.empty() || alerts_.partitions == 0) return;
    std::this_thread::sleep_for(kFlushPoll);
  } while (std::chrono::steady_clock::now() < until);
}

bool MonitorTopics::Append(const Topic& topic, const std::deque<Record>& records,
                           std::function<void(Status)> done) {
  std::vector<KafkaProducer::Part> parts;
  for (const Record& record : records) {
    const int32_t partition = PartitionOf(record.key, topic.partitions);
    auto part = std::ranges::find(parts, partition, &KafkaProducer::Part::partition);
    if (part == parts.end())
      part = parts.insert(
          part, KafkaProducer::Part{.topic = topic.name, .partition = partition, .records = {}});
    part->records.push_back({.key = record.key, .value = record.value});
  }
  return producer_->Append(parts, std::move(done));
}

}  // namespace sightline
