#include "connectors/kafka/counts_sink.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sightline::kafka {
namespace {

std::string_view KeyOf(const rd_kafka_message_t& message) {
  return {static_cast<const char*>(message.key), message.key_len};
}

}  // namespace

CountsSink::~CountsSink() {
  if (worker_ != nullptr) writer_.retired.Retire(std::move(worker_));
}

Status CountsSink::Fence(const SourcePartition& partition, Epoch) {
  if (fencing_ == nullptr) {
    CHECK(worker_ == nullptr);
    // One transactional.id per task, so that a bad partition stops only itself, and its new task
    // fences only its old one.
    worker_ = std::make_unique<TransactionWorker>(
        options_.kafka,
        fmt::format("{}-{}-{}", options_.deployment, partition.source, partition.partition),
        options_.counts_topic,
        options_.partition_of ? options_.partition_of(partition) : partition.partition,
        [key = ProgressKeyJson(partition)](
            const rd_kafka_message_t& message) -> std::optional<std::string> {
          if (message.payload == nullptr || KeyOf(message) != key) return std::nullopt;
          return std::string(static_cast<const char*>(message.payload), message.len);
        },
        on_answer_, options_.repeat_interval,
        [key = ProgressKeyJson(partition)](const rd_kafka_message_t& message) {
          return IsOfPartition(KeyOf(message), key);
        });
    fencing_ = worker_->Submit({{.topic = options_.counts_topic,
                                 .key = ProgressKeyJson(partition),
                                 .value = {},
                                 .headers = {}}});
    provenance_ = {partition, options_.spec_id};
  }
  const std::optional<Answer> answer = TakeFinished(fencing_);
  if (!answer.has_value()) return Status::Retry("kafka: waiting for the transaction coordinator");
  if (!answer->status.ok()) {
    writer_.retired.Retire(std::move(worker_));
    return answer->status;
  }
  if (answer->found) {
    const Result<Progress> progress = ParseProgress(*answer->found);
    if (!progress.ok())
      return Status::Stop(fmt::format("topic '{}' partition {}: {}", options_.counts_topic,
                                      partition.partition, progress.status().message()));
    progress_ = progress.value();
  }
  fenced_ = true;
  return Status::Ok();
}

Result<Offset> CountsSink::Committed(const SourcePartition&) {
  if (!fenced_)
    return Status::Rebuild("kafka: the committed offset was requested before the fence");
  return progress_.has_value() ? progress_->next : kNoneCommitted;
}

Result<Offset> CountsSink::Commit(const SourcePartition& partition,
                                  std::span<const Segment> segments) {
  if (!fenced_ || dead_) return Status::Rebuild("kafka: this task does not own the counts");
  if (committing_ != nullptr) return TakeAnswer();
  if (progress_.has_value() && progress_->next != segments.front().first) {
    // The list contains the boundary that is committed: the answer of that commit was lost.
    if (std::ranges::any_of(segments, [&](const Segment& s) { return s.next == progress_->next; }))
      return progress_->next;
    return Status::Rebuild(fmt::format("kafka: '{}' partition {} is committed up to {}, not {}",
                                       partition.source, partition.partition, progress_->next.v,
                                       segments.front().first.v));
  }
  std::vector<Message> messages = Prepare(segments);
  writer_.messages += static_cast<int64_t>(messages.size());
  committing_ = worker_->Submit(std::move(messages));
  return Status::Retry("kafka: the commit is under way");
}

Result<Offset> CountsSink::TakeAnswer() {
  const std::optional<Answer> answer = TakeFinished(committing_);
  if (!answer.has_value()) return Status::Retry("kafka: the commit is under way");
  if (!answer->status.ok()) {
    dead_ = true;
    ++writer_.failures;
    return answer->status;
  }
  ++writer_.commits;
  writer_.commit_microseconds += answer->microseconds;
  progress_ = offered_;
  return progress_->next;
}

std::vector<Message> CountsSink::Prepare(std::span<const Segment> segments) {
  // What the transaction will have committed. It becomes progress_ only with a successful answer.
  offered_ = progress_.value_or(Progress{});
  offered_.next = segments.back().next;
  offered_.watermark = segments.back().watermark;
  std::vector<Message> messages;
  std::vector<CountRow> changed;
  std::vector<LedgerRow> added;
  for (const Segment& segment : segments) {
    offered_.ledger.Add(segment.Total());
    MergeCounts(changed, std::vector<CountRow>(segment.counts));
    MergeLedger(added, std::vector<LedgerRow>(segment.ledger));
    for (const DeadLetter& event : segment.dead_letters)
      messages.push_back(DeadLetterMessage(event.outcome == Outcome::kTooLate
                                               ? options_.late_detections_topic
                                               : options_.dead_letters_topic,
                                           provenance_.from, event));
  }
  const Clock::time_point now = Clock::now();
  // A group of running totals is bounded by rows and by age. A new one begins under the first
  // offset of this commit, and its keys are new.
  if (begun_ == Clock::time_point() ||
      static_cast<int64_t>(totals_.size() + ledger_.size()) > options_.group_rows_max ||
      now - begun_ > std::chrono::milliseconds(options_.group_age_max.v)) {
    totals_.clear();
    ledger_.clear();
    first_ = segments.front().first;
    begun_ = now;
  }
  std::vector<CountKey> keys;
  keys.reserve(changed.size());
  for (const CountRow& row : changed) keys.push_back(row.key);
  MergeCounts(totals_, std::move(changed));
  // A record has the total of its key, so only keys that changed are written.
  for (const CountKey& key : keys) messages.push_back(CountMessage(key));
  std::vector<LedgerKey> rows;
  rows.reserve(added.size());
  for (const LedgerRow& row : added) rows.push_back(row.key);
  MergeLedger(ledger_, std::move(added));
  for (const LedgerKey& key : rows) messages.push_back(LedgerMessage(key));
  // The progress record comes last: readers take it as the end of the transaction.
  messages.push_back({.topic = options_.counts_topic,
                      .key = ProgressKeyJson(provenance_.from),
                      .value = ProgressValueJson(provenance_, offered_),
                      .headers = {}});
  return messages;
}

Message CountsSink::CountMessage(const CountKey& key) const {
  const auto total = std::ranges::lower_bound(totals_, key, {}, &CountRow::key);
  LocationName name;
  if (options_.location_name) name.name = options_.location_name(key.location);
  if (options_.locations_version) name.version = options_.locations_version();
  return {.topic = options_.counts_topic,
          .key = CountKeyJson(provenance_.from, first_, key, options_.pane_size),
          .value = CountValueJson(provenance_, first_, offered_.next, *total, options_.pane_size,
                                  options_.location_name ? &name : nullptr),
          .headers = {}};
}

Message CountsSink::LedgerMessage(const LedgerKey& key) const {
  const auto total = std::ranges::lower_bound(ledger_, key, {}, &LedgerRow::key);
  return {.topic = options_.counts_topic,
          .key = LedgerKeyJson(provenance_.from, first_, key),
          .value = LedgerValueJson(provenance_, first_, offered_.next, *total),
          .headers = {}};
}

}  // namespace sightline::kafka
