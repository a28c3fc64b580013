#include <fmt/format.h>

#include <memory>
#include <utility>

#include "connectors/kafka/kafka_detections.h"
#include "connectors/kafka/producer.h"
#include "processes/kafka_raw_topics.h"
#include "processes/raw_log.h"

namespace sightline {
namespace {

class KafkaRawLog final : public RawLog {
 public:
  KafkaRawLog(std::shared_ptr<KafkaRawTopics> topics, std::unique_ptr<KafkaProducer> producer)
      : topics_(std::move(topics)),
        detections_(std::move(producer), topics_->name(), TopicsToPost(*topics_)) {}

  std::vector<SourcePartition> Partitions() const override {
    std::vector<SourcePartition> partitions;
    for (const KafkaRawTopicPtr& topic : topics_->topics()) Add(*topic, partitions);
    return partitions;
  }
  LogEnd EndOf(const SourcePartition& partition) const override {
    return topics_->EndOf(partition);
  }
  std::unique_ptr<Source> OpenSource(const SourcePartition& partition,
                                     std::function<void()> wake) override {
    const KafkaRawTopicPtr topic = topics_->FindSource(partition.source);
    if (topic == nullptr) return nullptr;
    return topics_->OpenSource(topic, partition.partition, std::move(wake));
  }
  DetectionLog& detections() { return detections_; }

  Change Look() override {
    Change change;
    const KafkaRawTopics::Change topics = topics_->Look();
    for (const KafkaRawTopicPtr& topic : topics.gone) Add(*topic, change.gone);
    for (const KafkaRawTopicPtr& topic : topics.found) Add(*topic, change.found);
    if (!change.gone.empty() || !change.found.empty())
      detections_.SetTopics(TopicsToPost(*topics_));
    return change;
  }

  RawLogReport Report() const override {
    RawLogReport report{.clock_unguarded = topics_->ClockUnguarded()};
    if (const std::string trouble = topics_->trouble(); !trouble.empty())
      report.health = Status::Retry(trouble);
    report.metrics.push_back(
        Metric::Gauge("sightline_kafka_producer_bytes",
                      "Bytes of posted detections that the brokers have not acknowledged yet.",
                      detections_.bytes()));
    for (const KafkaRawTopicPtr& topic : topics_->topics())
      for (int32_t p = 0; p < topic->topic.partitions; ++p) {
        Metric& end = report.metrics.emplace_back(Metric::Gauge(
            "sightline_kafka_end_offset",
            "The end offset of the raw topic's partition, as the broker reported it last.",
            EndOf({topic->source, p}).next.v));
        end.labels = {{"topic", topic->topic.name}, {"partition", fmt::format("{}", p)}};
      }
    return report;
  }

 private:
  static void Add(const KafkaRawTopic& topic, std::vector<SourcePartition>& partitions) {
    for (int32_t p = 0; p < topic.topic.partitions; ++p) partitions.push_back({topic.source, p});
  }

  const std::shared_ptr<KafkaRawTopics> topics_;
  KafkaDetections detections_;
};

}  // namespace

Result<OpenedRawLog> OpenKafkaRawLog(std::shared_ptr<KafkaRawTopics> topics,
                                     int64_t queue_bytes_max) {
  Result<std::unique_ptr<KafkaProducer>> producer =
      KafkaProducer::Open({.kafka = topics->kafka(), .bytes_max = queue_bytes_max});
  if (!producer.ok()) return producer.status();
  auto opened = std::make_unique<KafkaRawLog>(std::move(topics), std::move(producer).value());
  DetectionLog& detections = opened->detections();
  return OpenedRawLog{.log = std::move(opened), .detections = &detections};
}

}  // namespace sightline
