#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <utility>

#include "app/kafka_options.h"
#include "app/raw_log.h"
#include "base/bytes.h"
#include "base/log.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/producer.h"
#include "connectors/kafka/reader.h"

namespace sightline {
namespace {

constexpr Millis kAskTime{1'000};
constexpr std::chrono::milliseconds kAskAgain{50};
constexpr std::chrono::seconds kPatience{3};
constexpr std::chrono::seconds kTellAgain{30};

// The server's posts into the topic, keyed by camera.
class KafkaDetections final : public DetectionLog {
 public:
  KafkaDetections(std::unique_ptr<KafkaProducer> producer, KafkaTopic topic)
      : producer_(std::move(producer)), topic_(std::move(topic)) {}
  int32_t partitions() const override { return topic_.partitions; }
  bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) override {
    std::vector<KafkaProducer::Part> parts;
    parts.reserve(records.size());
    for (const PackedRecords& packed : records) {
      KafkaProducer::Part& part = parts.emplace_back();
      part.partition = packed.partition;
      part.records.reserve(packed.cameras.size());
      ByteReader in(packed.bytes);
      for (const std::optional<CameraId>& camera : packed.cameras) {
        std::optional<std::string> key;
        if (camera) key = fmt::format("{}", camera->v);
        part.records.push_back({.key = std::move(key), .value = in.String()});
      }
    }
    return producer_->Append(topic_.name, parts, std::move(done));
  }
  int64_t bytes() const { return producer_->bytes(); }

 private:
  const std::unique_ptr<KafkaProducer> producer_;
  const KafkaTopic topic_;
};

class KafkaRawLog final : public RawLog {
 public:
  KafkaRawLog(std::unique_ptr<KafkaReader> reader, std::unique_ptr<KafkaProducer> producer,
              KafkaTopic topic, const std::string& cluster_id)
      : reader_(std::move(reader)),
        topic_(std::move(topic)),
        source_(KafkaSourceName(cluster_id, topic_)),
        detections_(std::move(producer), topic_) {}

  int32_t partitions() const override { return topic_.partitions; }
  SourcePartition Partition(int32_t partition) const override { return {source_, partition}; }
  LogEnd EndOf(int32_t partition) const override {
    const KafkaEnd end = reader_->EndOf(topic_.name, partition);
    return {end.next, end.newest};
  }
  void Watch(std::function<void(int32_t partition)> wake) override { wake_ = std::move(wake); }
  // Each source ends its own calls.
  void Unwatch() override {}
  std::unique_ptr<Source> OpenSource(int32_t partition) override {
    return reader_->OpenSource(topic_, partition, [this, partition] { wake_(partition); });
  }
  DetectionLog& detections() override { return detections_; }
  void Gather(std::vector<Metric>& metrics) const override {
    metrics.push_back({.name = "sightline_kafka_producer_bytes",
                       .help = "posted and not yet acknowledged by the brokers",
                       .type = Metric::Type::kGauge,
                       .value = static_cast<double>(detections_.bytes())});
    for (int32_t p = 0; p < topic_.partitions; ++p)
      metrics.push_back({.name = "sightline_kafka_end_offset",
                         .help = "end of the raw topic's partition as last heard",
                         .type = Metric::Type::kGauge,
                         .labels = {{"partition", fmt::format("{}", p)}},
                         .value = static_cast<double>(EndOf(p).next.v)});
  }

 private:
  const std::unique_ptr<KafkaReader> reader_;
  const KafkaTopic topic_;
  const std::string source_;
  KafkaDetections detections_;
  std::function<void(int32_t partition)> wake_;
};

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

Result<std::unique_ptr<RawLog>> OpenKafkaRawLog(const UpOptions& options,
                                                const std::function<bool()>& give_up) {
  const Result<KafkaOptions> kafka = MakeKafkaOptions(options);
  if (!kafka.ok()) return kafka.status();
  Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(kafka.value());
  if (!reader.ok()) return reader.status();
  Result<std::unique_ptr<KafkaProducer>> producer =
      KafkaProducer::Open({.kafka = kafka.value(), .bytes_max = options.log_queue_max});
  if (!producer.ok()) return producer.status();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka.value(), kAskTime);
  if (!admin.ok()) return admin.status();
  KafkaAdmin& asked = *admin.value();
  const std::string& brokers = kafka.value().brokers;
  const Result<std::string> cluster = AskUntil([&] { return asked.ClusterId(); }, brokers, give_up);
  if (!cluster.ok()) return cluster.status();
  Result<std::optional<KafkaTopicState>> described =
      AskUntil([&] { return asked.Describe(options.kafka_topic); }, brokers, give_up);
  if (!described.ok()) return described.status();
  if (!described.value())
    return Status::Stop(fmt::format(
        "there is no topic '{}' at {}: `sightline topics apply` makes it and the others",
        options.kafka_topic, brokers));
  KafkaTopic topic = TopicToRead(*described.value());
  if (!topic.log_append_time)
    LogWarning(fmt::format(
        "clock_unguarded: topic '{}' has the senders' times, not the broker's: detections from the "
        "future and very old ones are not refused; set message.timestamp.type=LogAppendTime",
        options.kafka_topic));
  return std::unique_ptr<RawLog>(std::make_unique<KafkaRawLog>(
      std::move(reader).value(), std::move(producer).value(), std::move(topic), cluster.value()));
}

}  // namespace sightline
