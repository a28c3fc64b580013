#include "connectors/kafka/steps.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "base/log.h"
#include "connectors/kafka/join_map.h"
#include "connectors/kafka/seal_map.h"
#include "connectors/kafka/transaction_worker.h"

namespace sightline {
namespace {

using kafka::StepClock;

constexpr int64_t kStepRecordsMax = 1'024;  // read by one Step(): done soon, even on a busy machine
// This many messages are written without waiting for the commit interval.
constexpr int64_t kCommitAt = 4'096;
// Reading stops while this many messages wait to be written.
constexpr int64_t kWaitingMax = 65'536;

// Finds something in every record: the newest record of a step's topic has a position, or was not
// written by a step.
std::optional<std::string> PositionOf(const rd_kafka_message_t& message) {
  return kafka::HeaderOf(message, kafka::kPositionHeader).value_or("");
}

}  // namespace

struct KafkaSteps::State {
  explicit State(KafkaStepsOptions given) : options(std::move(given)) {}
  const KafkaStepsOptions options;
  std::unique_ptr<KafkaReader> reader;
  kafka::RetiredWorkers retired;
};

namespace {

class PartitionStep final : public KafkaStep {
 public:
  PartitionStep(const KafkaStepsOptions& options, KafkaReader& reader,
                kafka::RetiredWorkers& retired, int32_t partition,
                std::unique_ptr<kafka::StepMap> map, std::function<void()> wake)
      : options_(options),
        reader_(reader),
        retired_(retired),
        partition_(partition),
        map_(std::move(map)),
        wake_(std::move(wake)) {}
  ~PartitionStep() override {
    if (worker_ != nullptr) retired_.Retire(std::move(worker_));
  }

  Status Step(bool draining) override {
    if (source_ == nullptr) RETURN_IF_ERROR(Begin());
    if (!sought_) RETURN_IF_ERROR(Seek());
    stats_.running = true;
    if (committing_ != nullptr) RETURN_IF_ERROR(TakeAnswer());
    if (worker_->has_hanging_transaction())
      return Status::Rebuild(fmt::format(
          "kafka: {}: the newest transaction is hanging: its end is missing in the partition",
          kafka::Where(options_.to, partition_)));
    bool more = false;
    if (!draining && map_->waiting() < kWaitingMax) {
      const Result<Batch> batch = source_->Poll(kStepRecordsMax);
      if (!batch.ok() && batch.status().code() != StatusCode::kRetry) return batch.status();
      if (batch.ok()) RETURN_IF_ERROR(Take(batch.value()));
      more = batch.ok() && batch.value().next > batch.value().first;
    }
    if (committing_ == nullptr) RETURN_IF_ERROR(Commit(draining));
    return more ? Status::Ok() : Status::Retry("");
  }

  bool drained() const override { return committing_ == nullptr && !unwritten_; }

  KafkaStepStats stats() const override {
    KafkaStepStats stats = stats_;
    stats.end = reader_.EndOf(options_.from.id, partition_).next;
    stats.refused = map_->refused();
    return stats;
  }

 private:
  // Fences the owner before it, and learns where that one stood.
  Status Begin() {
    if (worker_ == nullptr) {
      worker_ = std::make_unique<kafka::TransactionWorker>(
          options_.kafka, fmt::format("{}{}", options_.transactional_prefix, partition_),
          options_.to, partition_, PositionOf, wake_);
      fencing_ = worker_->Submit({});
    }
    const std::optional<kafka::Answer> answer = TakeFinished(fencing_);
    if (!answer.has_value()) return Status::Retry("kafka: waiting for the transaction coordinator");
    if (!answer->status.ok())
      return answer->status.code() == StatusCode::kStop ? answer->status
                                                        : Status::Rebuild(answer->status.message());
    if (answer->found) RETURN_IF_ERROR(Resume(*answer->found));
    source_ = reader_.OpenSource(options_.from, partition_, wake_);
    return Status::Ok();
  }

  Status Resume(const std::string& header) {
    if (header.empty())
      return Status::Stop(
          fmt::format("topic '{}' partition {} was written by another program, or by a `count` "
                      "that writes it itself: its records would count twice; use another topic",
                      options_.to, partition_));
    const Result<kafka::StepPosition> position = kafka::ParseStepPosition(header);
    if (!position.ok())
      return Status::Stop(fmt::format("topic '{}' partition {}: {}", options_.to, partition_,
                                      position.status().message()));
    // The topic was created again: it is another one, and is read from its beginning.
    if (position.value().topic_id != options_.from.id) return Status::Ok();
    map_->Resume(position.value());
    begin_ = position.value().next;
    return Status::Ok();
  }

  Status Seek() {
    const Result<Offset> earliest = source_->Earliest();
    if (!earliest.ok()) return earliest.status();
    RETURN_IF_ERROR(source_->Seek(begin_.value_or(earliest.value())));
    sought_ = true;
    LogInfo(fmt::format("partition {} of '{}' runs from offset {}", partition_, options_.from.name,
                        begin_.value_or(earliest.value()).v));
    return Status::Ok();
  }

  Status Take(const Batch& batch) {
    const StepClock::time_point now = StepClock::now();
    for (const Record& record : batch.records)
      RETURN_IF_ERROR(map_->Take(record.offset, record.payload, now));
    stats_.next = batch.next;
    unwritten_ = true;
    return Status::Ok();
  }

  Status Commit(bool now_or_never) {
    const StepClock::time_point now = StepClock::now();
    if (!now_or_never && now - committed_ < std::chrono::milliseconds(options_.commit_interval.v) &&
        map_->waiting() < kCommitAt)
      return Status::Ok();
    Result<kafka::StepCommit> commit = map_->NextCommit(now);
    if (!commit.ok()) return commit.status();
    unwritten_ = false;
    if (commit.value().messages.empty()) return Status::Ok();
    committed_ = now;
    stats_.messages += static_cast<int64_t>(commit.value().messages.size());
    committing_ = worker_->Submit(std::move(commit.value().messages));
    return Status::Ok();
  }

  Status TakeAnswer() {
    const std::optional<kafka::Answer> answer = TakeFinished(committing_);
    if (!answer.has_value()) return Status::Ok();
    ++(answer->status.ok() ? stats_.commits : stats_.failures);
    return answer->status;
  }

  const KafkaStepsOptions& options_;
  KafkaReader& reader_;
  kafka::RetiredWorkers& retired_;
  const int32_t partition_;
  const std::unique_ptr<kafka::StepMap> map_;
  const std::function<void()> wake_;
  std::unique_ptr<kafka::TransactionWorker> worker_;
  AsyncAnswerPtr<kafka::Answer> fencing_, committing_;
  std::optional<Offset> begin_;  // nothing: the earliest offset
  std::unique_ptr<Source> source_;
  bool sought_ = false;
  bool unwritten_ = false;  // something was read since the last NextCommit()
  StepClock::time_point committed_;
  KafkaStepStats stats_;
};

}  // namespace

KafkaSteps::KafkaSteps(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaSteps::~KafkaSteps() = default;

Result<std::unique_ptr<KafkaSteps>> KafkaSteps::Open(KafkaStepsOptions options) {
  Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(options.kafka);
  if (!reader.ok()) return reader.status();
  auto state = std::make_unique<State>(std::move(options));
  state->reader = std::move(reader).value();
  return std::unique_ptr<KafkaSteps>(new KafkaSteps(std::move(state)));
}

std::unique_ptr<KafkaStep> KafkaSteps::OpenJoin(
    int32_t partition, std::function<std::pair<std::string, int64_t>(LocationId)> location,
    std::function<void()> wake) {
  auto name = [location = std::move(location)](LocationId id) {
    auto [text, version] = location(id);
    return kafka::LocationName{.name = std::move(text), .version = version};
  };
  return std::make_unique<PartitionStep>(
      state_->options, *state_->reader, state_->retired, partition,
      std::make_unique<kafka::JoinMap>(state_->options.from.id, state_->options.to,
                                       std::move(name)),
      std::move(wake));
}

std::unique_ptr<KafkaStep> KafkaSteps::OpenTransform(int32_t partition,
                                                     std::function<void()> wake) {
  return std::make_unique<PartitionStep>(
      state_->options, *state_->reader, state_->retired, partition,
      std::make_unique<kafka::SealMap>(kafka::SealOptions{
          .topic_id = state_->options.from.id,
          .to = state_->options.to,
          .group_age_max = std::chrono::milliseconds(state_->options.group_age_max.v * 3 / 2),
          .remember = std::chrono::milliseconds(state_->options.group_memory.v)}),
      std::move(wake));
}

}  // namespace sightline
