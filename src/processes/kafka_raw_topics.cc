#include "processes/kafka_raw_topics.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "config/kafka_wait.h"

namespace sightline {
namespace {

constexpr std::chrono::seconds kInterval{3};
// A broker that has just started may not know the newest topics.
constexpr int kMissingMax = 3;

// Keeps the reader alive as long as one of its sources is read.
class HeldSource final : public Source {
 public:
  HeldSource(std::shared_ptr<KafkaReader> reader, std::unique_ptr<Source> source)
      : reader_(std::move(reader)), source_(std::move(source)) {}
  Result<Offset> Earliest() override { return source_->Earliest(); }
  Status Seek(Offset next) override { return source_->Seek(next); }
  Result<Batch> Poll(int64_t records_max) override { return source_->Poll(records_max); }

 private:
  const std::shared_ptr<KafkaReader> reader_;
  const std::unique_ptr<Source> source_;
};

}  // namespace

KafkaRawTopics::KafkaRawTopics(KafkaCluster cluster, RawTopicName name,
                               std::shared_ptr<KafkaReader> reader)
    : kafka_(std::move(cluster.kafka)),
      name_(std::move(name)),
      admin_(std::move(cluster.admin)),
      cluster_id_(std::move(cluster.id)),
      reader_(std::move(reader)) {}

Result<std::unique_ptr<KafkaRawTopics>> KafkaRawTopics::Open(const KafkaSettings& settings,
                                                             const std::function<bool()>& give_up) {
  Result<RawTopicName> name = RawTopicName::Parse(settings.topic);
  if (!name.ok()) return name.status();
  Result<KafkaCluster> cluster = ConnectKafka(settings, give_up);
  if (!cluster.ok()) return cluster.status();
  Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(cluster.value().kafka);
  if (!reader.ok()) return reader.status();
  std::unique_ptr<KafkaRawTopics> raw(new KafkaRawTopics(
      std::move(cluster).value(), std::move(name).value(), std::move(reader).value()));
  const Result<std::vector<KafkaTopicState>> now = WaitForKafka(
      settings, give_up, [r = raw.get()] { return DescribeRawTopics(*r->admin_, r->name_); });
  if (!now.ok()) return now.status();
  if (!raw->name_.by_location() && now.value().empty()) return NoTopic(settings, settings.topic);
  std::string trouble;
  const Result<Change> change = raw->Compare(now.value(), trouble);
  if (!change.ok()) return change.status();
  raw->opened_ = true;
  if (raw->name_.by_location())
    LogInfo(fmt::format("reading {} topics that match '{}', and any that appear later",
                        change.value().found.size(), raw->name_.text()));
  return raw;
}

std::vector<KafkaRawTopicPtr> KafkaRawTopics::topics() const {
  const std::lock_guard lock(mutex_);
  std::vector<KafkaRawTopicPtr> topics;
  topics.reserve(topics_.size());
  for (const auto& [name, topic] : topics_) topics.push_back(topic);
  return topics;
}

KafkaRawTopicPtr KafkaRawTopics::Find(std::string_view topic) const {
  const std::lock_guard lock(mutex_);
  const auto found = topics_.find(topic);
  return found == topics_.end() ? nullptr : found->second;
}

KafkaRawTopicPtr KafkaRawTopics::FindSource(std::string_view source) const {
  KafkaRawTopicPtr topic = Find(TopicOfSource(source));
  return topic != nullptr && topic->source == source ? topic : nullptr;
}

int32_t KafkaRawTopics::partitions() const {
  const std::lock_guard lock(mutex_);
  int32_t partitions = 0;
  for (const auto& [name, topic] : topics_) partitions += topic->topic.partitions;
  return partitions;
}

KafkaRawTopics::Change KafkaRawTopics::Look() {
  if (std::chrono::steady_clock::now() - looked_ < kInterval) return {};
  Result<std::vector<KafkaTopicState>> now = DescribeRawTopics(*admin_, name_);
  looked_ = std::chrono::steady_clock::now();
  if (!now.ok()) {
    ReportTrouble("Kafka does not answer: " + now.status().message());
    return {};
  }
  std::string trouble;
  Result<Change> change = Compare(now.value(), trouble);
  if (!change.ok()) {
    ReportTrouble(change.status().message());
    return {};
  }
  ReportTrouble(std::move(trouble));
  return std::move(change).value();
}

Result<KafkaRawTopicPtr> KafkaRawTopics::Make(const KafkaTopicState& state) {
  auto topic = std::make_shared<KafkaRawTopic>();
  topic->topic = TopicToRead(state);
  topic->source = KafkaSourceName(cluster_id_, topic->topic);
  topic->reader = reader_;
  if (!known_.insert(state.name).second) {
    Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(kafka_);
    if (!reader.ok()) return reader.status();
    topic->reader = std::move(reader).value();
  }
  if (const std::string why = sightline::ClockUnguarded(topic->topic); !why.empty())
    LogWarning("clock_unguarded: " + why);
  return KafkaRawTopicPtr(std::move(topic));
}

Result<KafkaRawTopics::Change> KafkaRawTopics::Compare(const std::vector<KafkaTopicState>& now,
                                                       std::string& trouble) {
  Change change;
  std::map<std::string, KafkaRawTopicPtr, std::less<>> topics;
  for (const KafkaRawTopicPtr& topic : this->topics()) topics.emplace(topic->topic.name, topic);
  for (const auto& [name, topic] : std::map(topics)) {
    if (std::ranges::find(now, name, &KafkaTopicState::name) != now.end()) {
      missing_.erase(name);
      continue;
    }
    if (!name_.by_location()) {
      trouble = fmt::format(
          "topic '{}' was deleted: if it is created again, Sightline reads it from its beginning",
          name);
      continue;
    }
    if (++missing_[name] < kMissingMax) continue;
    LogWarning(fmt::format("topic '{}' was deleted", name));
    missing_.erase(name);
    change.gone.push_back(topic);
    topics.erase(name);
  }
  for (const KafkaTopicState& state : now) {
    const auto known = topics.find(state.name);
    if (known != topics.end() && known->second->topic.id == state.id) {
      if (state.partitions != known->second->topic.partitions)
        trouble = fmt::format(
            "topic '{}' has {} partitions now and had {} when this process started, so two copies "
            "of "
            "a detection may lie in different partitions: create a new topic and hand over to it "
            "(`sightline handover`)",
            state.name, state.partitions, known->second->topic.partitions);
      continue;
    }
    const Result<KafkaRawTopicPtr> made = Make(state);
    if (!made.ok()) return made.status();
    if (known != topics.end()) {
      LogWarning(fmt::format(
          "topic '{}' was deleted and created again: Sightline reads it as a new source",
          state.name));
      change.gone.push_back(known->second);
    } else if (opened_) {
      LogInfo(fmt::format("reading the new topic '{}' with {} partitions", state.name,
                          state.partitions));
    }
    topics[state.name] = made.value();
    change.found.push_back(made.value());
  }
  const std::lock_guard lock(mutex_);
  topics_ = std::move(topics);
  return change;
}

void KafkaRawTopics::ReportTrouble(std::string trouble) {
  const std::lock_guard lock(mutex_);
  if (trouble_ != trouble && !trouble.empty()) LogWarning(trouble);
  if (!trouble_.empty() && trouble.empty()) LogInfo("Kafka answers again");
  trouble_ = std::move(trouble);
}

LogEnd KafkaRawTopics::EndOf(const SourcePartition& partition) const {
  // Nothing more comes from a topic that was deleted, even if another has its name now.
  const KafkaRawTopicPtr topic = FindSource(partition.source);
  return topic == nullptr ? LogEnd{} : topic->reader->EndOf(topic->topic.id, partition.partition);
}

std::unique_ptr<Source> KafkaRawTopics::OpenSource(const KafkaRawTopicPtr& topic, int32_t partition,
                                                   std::function<void()> wake) const {
  return std::make_unique<HeldSource>(
      topic->reader, topic->reader->OpenSource(topic->topic, partition, std::move(wake)));
}

std::string KafkaRawTopics::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

std::string KafkaRawTopics::ClockUnguarded() const {
  for (const KafkaRawTopicPtr& topic : topics())
    if (std::string why = sightline::ClockUnguarded(topic->topic); !why.empty()) return why;
  return {};
}

std::map<std::string, int32_t, std::less<>> TopicsToPost(const KafkaRawTopics& topics) {
  std::map<std::string, int32_t, std::less<>> partitions;
  for (const KafkaRawTopicPtr& topic : topics.topics())
    partitions.emplace(topic->topic.name, topic->topic.partitions);
  return partitions;
}

Result<std::map<std::string, int32_t, std::less<>>> RawTopicsNow(KafkaAdmin& admin,
                                                                 const RawTopicName& name) {
  const Result<std::vector<KafkaTopicState>> now = DescribeRawTopics(admin, name);
  if (!now.ok()) return now.status();
  std::map<std::string, int32_t, std::less<>> partitions;
  for (const KafkaTopicState& topic : now.value()) partitions.emplace(topic.name, topic.partitions);
  return partitions;
}

Result<std::vector<KafkaTopicState>> DescribeRawTopics(KafkaAdmin& admin,
                                                       const RawTopicName& name) {
  if (!name.by_location()) return admin.DescribeAll({name.text()});
  Result<std::vector<std::string>> names = admin.Names();
  if (!names.ok()) return names.status();
  std::erase_if(names.value(), [&name](const std::string& topic) { return !name.Matches(topic); });
  return admin.DescribeAll(names.value());
}

Result<std::function<int32_t(const SourcePartition&)>> CountsPartitions(
    KafkaRawTopics& raw, const KafkaSettings& settings, const std::function<bool()>& give_up) {
  if (!raw.name().by_location()) return std::function<int32_t(const SourcePartition&)>();
  const Result<KafkaTopic> counts =
      WaitForTopic(raw.admin(), settings, settings.counts_topic, give_up);
  if (!counts.ok()) return counts.status();
  return std::function<int32_t(const SourcePartition&)>(
      [n = counts.value().partitions](const SourcePartition& partition) {
        return CountsPartitionOf(TopicOfSource(partition.source), partition.partition, n);
      });
}

}  // namespace sightline
