#include <fmt/format.h>

#include <memory>
#include <utility>

#include "config/kafka_options.h"
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
    const KafkaEnd end = topics_->EndOf(partition);
    return {end.next, end.newest};
  }
  void Watch(std::function<void(const SourcePartition&)> wake) override { wake_ = std::move(wake); }
  // Each source ends its own calls.
  void Unwatch() override {}
  std::unique_ptr<Source> OpenSource(const SourcePartition& partition) override {
    const KafkaRawTopicPtr topic = topics_->FindSource(partition.source);
    if (topic == nullptr) return nullptr;
    return topics_->OpenSource(topic, partition.partition, [this, partition] { wake_(partition); });
  }
  DetectionLog& detections() override { return detections_; }

  Change Look() override {
    Change change;
    const KafkaRawTopics::Change topics = topics_->Look();
    for (const KafkaRawTopicPtr& topic : topics.gone) Add(*topic, change.gone);
    for (const KafkaRawTopicPtr& topic : topics.found) Add(*topic, change.found);
    if (!change.gone.empty() || !change.found.empty())
      detections_.SetTopics(TopicsToPost(*topics_));
    return change;
  }

  Status Health() const override {
    const std::string trouble = topics_->trouble();
    return trouble.empty() ? Status::Ok() : Status::Retry(trouble);
  }

  std::string ClockUnguarded() const override { return topics_->ClockUnguarded(); }

  void CollectMetrics(std::vector<Metric>& metrics) const override {
    metrics.push_back({.name = "sightline_kafka_producer_bytes",
                       .help = "posted and not yet acknowledged by the brokers",
                       .type = Metric::Type::kGauge,
                       .value = static_cast<double>(detections_.bytes())});
    for (const KafkaRawTopicPtr& topic : topics_->topics())
      for (int32_t p = 0; p < topic->topic.partitions; ++p)
        metrics.push_back(
            {.name = "sightline_kafka_end_offset",
             .help = "end of the raw topic's partition as last heard",
             .type = Metric::Type::kGauge,
             .labels = {{"topic", topic->topic.name}, {"partition", fmt::format("{}", p)}},
             .value = static_cast<double>(EndOf({topic->source, p}).next.v)});
  }

 private:
  static void Add(const KafkaRawTopic& topic, std::vector<SourcePartition>& partitions) {
    for (int32_t p = 0; p < topic.topic.partitions; ++p) partitions.push_back({topic.source, p});
  }

  const std::shared_ptr<KafkaRawTopics> topics_;
  KafkaDetections detections_;
  std::function<void(const SourcePartition&)> wake_;
};

}  // namespace

Result<std::unique_ptr<RawLog>> OpenKafkaRawLog(const KafkaSettings& settings,
                                                std::shared_ptr<KafkaRawTopics> topics,
                                                int64_t queue_bytes_max) {
  const Result<KafkaOptions> kafka = MakeKafkaOptions(settings);
  if (!kafka.ok()) return kafka.status();
  Result<std::unique_ptr<KafkaProducer>> producer =
      KafkaProducer::Open({.kafka = kafka.value(), .bytes_max = queue_bytes_max});
  if (!producer.ok()) return producer.status();
  return std::unique_ptr<RawLog>(
      std::make_unique<KafkaRawLog>(std::move(topics), std::move(producer).value()));
}

}  // namespace sightline
