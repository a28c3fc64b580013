#include "admin/handover.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>
#include <vector>

#include "admin/copy_runner.h"
#include "admin/embedded_copy.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/kafka_wait.h"
#include "connectors/kafka/newest.h"
#include "connectors/kafka/partition_bounds.h"
#include "connectors/kafka/records.h"
#include "connectors/kafka/topic_copy.h"
#include "processes/process.h"

namespace sightline {
namespace {

constexpr Millis kAskTime{5'000};
constexpr Millis kLook{100};
constexpr int64_t kProgressMs = 5'000;
// Records of a partition that are read for their average size.
constexpr int64_t kSample = 200;
// Records of a counts topic's partition that are searched for the newest progress record.
constexpr int64_t kProgressRecords = 2'000;

// What both kinds of hand-over have in common: the cluster, and the topic to write.
class HandoverTo : public Handover {
 public:
  HandoverTo(const Settings& options, const HandoverOptions& handover)
      : options_(options), handover_(handover) {}

  Status Connect() {
    Result<KafkaCluster> cluster = ConnectKafka(options_.kafka, StopAsked);
    if (!cluster.ok()) return cluster.status();
    kafka_ = std::move(cluster.value().kafka);
    admin_ = std::move(cluster.value().admin);
    cluster_id_ = std::move(cluster.value().id);
    const Result<std::optional<KafkaTopicState>> to =
        WaitForKafka(options_.kafka, StopAsked, [&] { return admin_->Describe(handover_.to); });
    if (!to.ok()) return to.status();
    to_ = to.value();
    return ConnectSource();
  }

  Result<HandoverFacts> Look() override {
    HandoverFacts facts;
    facts.at = handover_.at;
    facts.pipeline = options_.pipeline;
    facts.now_ms = SystemClock().NowMs();
    facts.until_end = handover_.until_end;
    facts.to = handover_.to;
    facts.data = options_.data;
    facts.brokers = options_.kafka.client.brokers;
    RETURN_IF_ERROR(LookAtSource(facts));
    if (to_) RETURN_IF_ERROR(LookAtTarget(facts));
    return facts;
  }

  Result<KafkaCopyStats> Copy(const std::function<void(const std::string&)>& progress) override {
    CopyRunner runner([this](const std::atomic<bool>& stop) { return OpenCopy(stop); });
    int64_t reported_ms = SteadyMs();
    std::optional<Status> ended;
    const Status waited = WaitForStop(kLook, [&] {
      if (SteadyMs() - reported_ms >= kProgressMs) {
        reported_ms = SteadyMs();
        if (const std::string line = runner.Progress(); !line.empty()) progress(line);
      }
      ended = runner.ended();
      return ended ? Status::Retry("ended") : Status::Ok();
    });
    if (!ended && waited.ok()) {
      progress(fmt::format("stopped: {} records were copied", runner.stats().read));
      return Status::Retry("stopped; run the same command to continue");
    }
    RETURN_IF_ERROR(*ended);
    return runner.stats();
  }

 protected:
  virtual Status ConnectSource() = 0;
  virtual Status LookAtSource(HandoverFacts& facts) = 0;
  virtual Result<std::unique_ptr<KafkaCopy>> OpenCopy(const std::atomic<bool>& stop) = 0;
  virtual int32_t partitions() const = 0;
  virtual std::string source_name() const = 0;  // its identity
  virtual const std::string& offsets_topic() const = 0;

  KafkaCopyOptions CopyOptions() const {
    return {.kafka = kafka_,
            .to = TopicToRead(*to_),
            .name = fmt::format("{}-handover-{}", options_.kafka.deployment, handover_.to),
            .offsets_topic = offsets_topic(),
            .what = fmt::format("hand-over at {} of {} into {} partitions", TimeText(handover_.at),
                                source_name(), to_->partitions),
            .by = handover_.by,
            .decode = options_.pipeline.decode};
  }
  AppendTime start() const { return HandoverStart(handover_.at, options_.pipeline); }

  const Settings options_;
  const HandoverOptions handover_;
  KafkaOptions kafka_;
  std::unique_ptr<KafkaAdmin> admin_;
  std::string cluster_id_;
  std::optional<KafkaTopicState> to_;

 private:
  Status LookAtTarget(HandoverFacts& facts) const {
    const auto setting = [this](const char* name) {
      const auto found = to_->settings.find(name);
      return found == to_->settings.end() ? std::string() : found->second;
    };
    facts.to_exists = true;
    facts.to_partitions = to_->partitions;
    facts.to_log_append_time = TopicToRead(*to_).log_append_time;
    facts.to_compacted = setting("cleanup.policy").find("compact") != std::string::npos;
    const Status empty = CheckEmpty(kafka_, TopicToRead(*to_));
    if (empty.code() == StatusCode::kRetry) return empty;
    facts.to_empty = empty.ok();
    if (to_->partitions < partitions()) return Status::Ok();  // the plan refuses this in any case
    const std::atomic<bool> stop = false;
    const Result<std::map<int32_t, Offset>> known =
        KafkaCopy(CopyOptions(), stop).Positions(partitions());
    if (known.status().code() == StatusCode::kStop) {
      facts.something_else = known.status().message();
      return Status::Ok();
    }
    if (!known.ok()) return known.status();
    if (known.value().empty()) return Status::Ok();
    facts.copied.emplace(static_cast<size_t>(partitions()));
    for (const auto& [partition, next] : known.value())
      (*facts.copied)[static_cast<size_t>(partition)] = next;
    return Status::Ok();
  }
};

class EmbeddedHandover final : public HandoverTo {
 public:
  using HandoverTo::HandoverTo;

 protected:
  Status ConnectSource() override {
    Result<std::unique_ptr<EmbeddedCopy>> source = EmbeddedCopy::Open(options_);
    if (!source.ok()) return source.status();
    source_ = std::move(source).value();
    return Status::Ok();
  }
  Status LookAtSource(HandoverFacts& facts) override {
    facts.embedded = true;
    facts.from = fmt::format("'{}'", options_.data);
    return source_->Look(start(), facts);
  }
  Result<std::unique_ptr<KafkaCopy>> OpenCopy(const std::atomic<bool>& stop) override {
    return source_->OpenCopy(CopyOptions(), start(), stop);
  }
  int32_t partitions() const override { return source_->partitions(); }
  std::string source_name() const override { return source_->source_name(); }
  const std::string& offsets_topic() const override { return to_->name; }

 private:
  std::unique_ptr<EmbeddedCopy> source_;
};

class TopicHandover final : public HandoverTo {
 public:
  using HandoverTo::HandoverTo;

 protected:
  Status ConnectSource() override {
    const Result<std::optional<KafkaTopicState>> from =
        WaitForKafka(options_.kafka, StopAsked, [&] { return admin_->Describe(handover_.from); });
    if (!from.ok()) return from.status();
    if (!from.value())
      return Status::Stop(fmt::format("there is no topic '{}' at {}: give one with --from",
                                      handover_.from, options_.kafka.client.brokers));
    if (to_) RETURN_IF_ERROR(CheckCopyTopics({*from.value(), *to_}));
    from_ = TopicToRead(*from.value());
    return Status::Ok();
  }
  Status LookAtSource(HandoverFacts& facts) override;
  Result<std::unique_ptr<KafkaCopy>> OpenCopy(const std::atomic<bool>& stop) override {
    if (copy_ == nullptr)
      copy_ = std::make_unique<TopicCopy>(TopicCopyOptions{.copy = CopyOptions(),
                                                           .from = from_,
                                                           .start_at = start(),
                                                           .until_end = handover_.until_end});
    return copy_->Open(stop);
  }
  int32_t partitions() const override { return from_.partitions; }
  std::string source_name() const override { return KafkaSourceName(cluster_id_, from_); }
  const std::string& offsets_topic() const override { return from_.name; }

 private:
  Status LookAtCounts(HandoverFacts& facts) const;

  KafkaTopic from_;
  std::unique_ptr<TopicCopy> copy_;
};

Status TopicHandover::LookAtSource(HandoverFacts& facts) {
  facts.from = from_.name;
  facts.from_log_append_time = from_.log_append_time;
  const Result<std::vector<PartitionBounds>> bounds =
      ReadPartitionBounds(kafka_, from_.name, from_.partitions, start(), kAskTime);
  if (!bounds.ok()) return bounds.status();
  for (const PartitionBounds& b : bounds.value())
    facts.partitions.push_back({.earliest = b.earliest,
                                .from = b.from,
                                .end = b.end,
                                .oldest = b.oldest,
                                .newest = b.newest});
  int64_t records = 0, bytes = 0;
  RETURN_IF_ERROR(ReadNewest(kafka_, from_.name, from_.partitions, kSample, kAskTime,
                             [&](const NewestRecord& record) {
                               ++records;
                               bytes += static_cast<int64_t>(record.value.size());
                             }));
  facts.bytes_a_record = records == 0 ? 0 : bytes / records;
  return LookAtCounts(facts);
}

// Reads the progress records of the old pipeline from its counts topic. The spec_id of such a
// record is a hash of the pipeline's settings, so it tells under which count_until the pipeline
// runs: this tries the two that are possible.
Status TopicHandover::LookAtCounts(HandoverFacts& facts) const {
  const std::string& name = options_.kafka.counts_topic;
  const Result<std::optional<KafkaTopicState>> counts =
      WaitForKafka(options_.kafka, StopAsked, [&] { return admin_->Describe(name); });
  if (!counts.ok()) return counts.status();
  if (!counts.value()) return Status::Ok();
  std::string spec_id;
  const int32_t partitions = std::min(counts.value()->partitions, from_.partitions);
  RETURN_IF_ERROR(ReadNewest(
      kafka_, name, partitions, kProgressRecords, kAskTime, [&](const NewestRecord& newest) {
        const Result<kafka::CountsRecord> record = kafka::ParseCountsRecord(newest.value);
        if (!record.ok() || !record.value().progress ||
            record.value().from.source != source_name() ||
            record.value().from.partition >= from_.partitions)
          return;
        HandoverPartition& p = facts.partitions[static_cast<size_t>(record.value().from.partition)];
        if (p.counted && *p.counted > record.value().progress->next) return;
        p.counted = record.value().progress->next;
        p.watermark = record.value().progress->watermark;
        spec_id = record.value().spec_id;
      }));
  if (spec_id.empty()) return Status::Ok();
  PipelineSpec spec = options_.pipeline;
  for (const EventTime until : {handover_.at, kAfterAllTime}) {
    spec.count_until = until;
    if (spec_id == fmt::format("{:016x}", spec.Fingerprint())) facts.count_until = until;
  }
  facts.other_settings = !facts.count_until;
  return Status::Ok();
}

}  // namespace

Result<std::unique_ptr<Handover>> Handover::Open(const Settings& options,
                                                 const HandoverOptions& handover) {
  std::unique_ptr<HandoverTo> opened;
  if (handover.from.empty()) {
    opened = std::make_unique<EmbeddedHandover>(options, handover);
  } else {
    opened = std::make_unique<TopicHandover>(options, handover);
  }
  RETURN_IF_ERROR(opened->Connect());
  return std::unique_ptr<Handover>(std::move(opened));
}

}  // namespace sightline
