#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "app/kafka_detections.h"
#include "app/kafka_options.h"
#include "app/kafka_wait.h"
#include "app/raw_log.h"
#include "base/log.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/producer.h"
#include "connectors/kafka/reader.h"

namespace sightline {
namespace {

// What is read now: a topic by its id.
struct Reading {
  std::unique_ptr<KafkaReader> reader;
  KafkaTopic topic;
  std::string source;
};

class KafkaRawLog final : public RawLog {
 public:
  KafkaRawLog(KafkaOptions kafka, std::unique_ptr<KafkaAdmin> admin, std::string cluster_id,
              std::unique_ptr<KafkaReader> reader, std::unique_ptr<KafkaProducer> producer,
              const KafkaTopic& topic)
      : kafka_(std::move(kafka)),
        admin_(std::move(admin)),
        cluster_id_(std::move(cluster_id)),
        reading_(std::make_shared<Reading>(
            Reading{std::move(reader), topic, KafkaSourceName(cluster_id_, topic)})),
        detections_(std::move(producer), topic.name, topic.partitions) {}

  int32_t partitions() const override { return reading()->topic.partitions; }
  SourcePartition Partition(int32_t partition) const override {
    return {reading()->source, partition};
  }
  LogEnd EndOf(const SourcePartition& partition) const override {
    const std::shared_ptr<const Reading> now = reading();
    // What was read before the topic was made again has no more to come.
    if (partition.source != now->source) return {};
    const KafkaEnd end = now->reader->EndOf(now->topic.id, partition.partition);
    return {end.next, end.newest};
  }
  void Watch(std::function<void(int32_t partition)> wake) override { wake_ = std::move(wake); }
  // Each source ends its own calls.
  void Unwatch() override {}
  std::unique_ptr<Source> OpenSource(int32_t partition) override {
    const std::shared_ptr<const Reading> now = reading();
    return now->reader->OpenSource(now->topic, partition, [this, partition] { wake_(partition); });
  }
  DetectionLog& detections() override { return detections_; }

  bool Changed() override {
    Result<std::optional<KafkaTopicState>> found = admin_->Describe(reading()->topic.name);
    if (!found.ok()) {
      Tell("Kafka does not answer: " + found.status().message());
      return false;
    }
    const std::shared_ptr<const Reading> now = reading();
    const std::string name = fmt::format("topic '{}'", now->topic.name);
    if (!found.value()) {
      Tell(name + " is gone: what is made under this name is read from its beginning");
      return false;
    }
    if (found.value()->id != now->topic.id) {
      LogWarning(name + " was made again: it is another source from now on");
      found_ = TopicToRead(*found.value());
      Tell("");
      return true;
    }
    Tell(found.value()->partitions == now->topic.partitions
             ? ""
             : fmt::format("{} has {} partitions, it had {} when this was started: copies of a "
                           "detection may lie in two; make a new topic and hand over",
                           name, found.value()->partitions, now->topic.partitions));
    return false;
  }

  Status Renew() override {
    Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(kafka_);
    if (!reader.ok()) return reader.status();
    auto renewed = std::make_shared<Reading>(
        Reading{std::move(reader).value(), found_, KafkaSourceName(cluster_id_, found_)});
    detections_.SetPartitions(found_.partitions);
    const std::lock_guard lock(mutex_);
    reading_ = std::move(renewed);
    return Status::Ok();
  }

  Status Health() const override {
    const std::lock_guard lock(mutex_);
    return trouble_.empty() ? Status::Ok() : Status::Retry(trouble_);
  }

  std::string ClockUnguarded() const override {
    return sightline::ClockUnguarded(reading()->topic);
  }

  void Gather(std::vector<Metric>& metrics) const override {
    metrics.push_back({.name = "sightline_kafka_producer_bytes",
                       .help = "posted and not yet acknowledged by the brokers",
                       .type = Metric::Type::kGauge,
                       .value = static_cast<double>(detections_.bytes())});
    for (int32_t p = 0; p < partitions(); ++p)
      metrics.push_back({.name = "sightline_kafka_end_offset",
                         .help = "end of the raw topic's partition as last heard",
                         .type = Metric::Type::kGauge,
                         .labels = {{"partition", fmt::format("{}", p)}},
                         .value = static_cast<double>(EndOf(Partition(p)).next.v)});
  }

 private:
  std::shared_ptr<const Reading> reading() const {
    const std::lock_guard lock(mutex_);
    return reading_;
  }
  void Tell(const std::string& trouble) {
    const std::lock_guard lock(mutex_);
    if (trouble_ != trouble && !trouble.empty()) LogWarning(trouble);
    trouble_ = trouble;
  }

  const KafkaOptions kafka_;
  const std::unique_ptr<KafkaAdmin> admin_;
  const std::string cluster_id_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Reading> reading_;  // under mutex_
  std::string trouble_;                     // under mutex_
  KafkaTopic found_;                        // by Changed()
  KafkaDetections detections_;
  std::function<void(int32_t partition)> wake_;
};

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
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka.value(), kKafkaAskTime);
  if (!admin.ok()) return admin.status();
  const Result<std::string> cluster = WaitForCluster(*admin.value(), options, give_up);
  if (!cluster.ok()) return cluster.status();
  const Result<KafkaTopic> found =
      WaitForTopic(*admin.value(), options, options.kafka_topic, give_up);
  if (!found.ok()) return found.status();
  const KafkaTopic& topic = found.value();
  if (const std::string why = ClockUnguarded(topic); !why.empty())
    LogWarning("clock_unguarded: " + why);
  return std::unique_ptr<RawLog>(
      std::make_unique<KafkaRawLog>(kafka.value(), std::move(admin).value(), cluster.value(),
                                    std::move(reader).value(), std::move(producer).value(), topic));
}

}  // namespace sightline
