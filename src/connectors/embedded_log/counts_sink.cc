#include "connectors/embedded_log/counts_sink.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "connectors/embedded_log/dead_letter_record.h"

namespace sightline::embedded_log {
namespace {

EventTime NewestPane(const Segment& group) {
  // Counts are sorted by pane. A group without counts still has a ledger: it ages by its watermark.
  return group.counts.empty() ? group.watermark : group.counts.back().key.pane_start;
}

Segment WithoutDeadLetters(const Segment& segment) {
  return {.first = segment.first,
          .next = segment.next,
          .counts = segment.counts,
          .ledger = segment.ledger,
          .watermark = segment.watermark};
}

}  // namespace

CountsSink::~CountsSink() {
  const std::lock_guard lock(waker_->mutex);
  waker_->on_answer = nullptr;
}

Status CountsSink::Fence(const SourcePartition& partition, Epoch) {
  if (fencing_ == nullptr) {
    token_ = fences_.Take(partition);
    committing_ = nullptr;
    group_ = std::nullopt;
    auto answer = std::make_shared<Answer>();
    if (!Submit(nullptr, answer)) return Status::Retry("the log is closed");
    fencing_ = std::move(answer);
  }
  if (!fencing_->finished.load(std::memory_order_acquire))
    return Status::Retry("waiting for the commits of earlier owners to finish");
  // Commits of earlier owners that were queued before this job are over, whatever became of them.
  fencing_ = nullptr;
  return Status::Ok();
}

Result<Offset> CountsSink::Committed(const SourcePartition& partition) {
  Result<Readers::Loan> reader = readers_.Borrow();
  if (!reader.ok()) return reader.status();
  Result<std::optional<CountsProgress>> progress = reader.value()->counts.ReadProgress(partition);
  if (!progress.ok()) return progress.status();
  return progress.value().has_value() ? progress.value()->next : kNoneCommitted;
}

Result<Offset> CountsSink::Commit(const SourcePartition& partition,
                                  std::span<const Segment> segments) {
  if (committing_ != nullptr) return TakeAnswer();
  auto answer = std::make_shared<Answer>();
  answer->next = segments.back().next;
  // Shared, because std::function copies what it holds, and the group can be large.
  auto write = std::make_shared<const Write>(Prepare(partition, segments));
  const bool submitted =
      Submit([write, answer, fences = &fences_](
                 Transaction& transaction) { return Store(*write, *fences, transaction, *answer); },
             answer);
  if (!submitted) {
    group_ = std::nullopt;
    return Status::Retry("the log is closed");
  }
  committing_ = std::move(answer);
  return Status::Retry("the commit is under way");
}

Result<Offset> CountsSink::TakeAnswer() {
  if (!committing_->finished.load(std::memory_order_acquire))
    return Status::Retry("the commit is under way");
  const std::shared_ptr<Answer> answer = std::move(committing_);
  committing_ = nullptr;
  // The group must contain exactly what is stored under its offset. After a failure, and after a
  // commit that had been done before, it does not: begin a new group.
  if (!answer->status.ok() || !answer->written) group_ = std::nullopt;
  if (!answer->status.ok()) return answer->status;
  return answer->next;
}

bool CountsSink::Submit(Writer::Work work, std::shared_ptr<Answer> answer) const {
  return writer_.Submit(std::move(work),
                        [answer = std::move(answer), waker = waker_](Status status) {
                          answer->status = std::move(status);
                          answer->finished.store(true, std::memory_order_release);
                          const std::lock_guard lock(waker->mutex);
                          if (waker->on_answer) waker->on_answer();
                        });
}

CountsSink::Write CountsSink::Prepare(const SourcePartition& partition,
                                      std::span<const Segment> segments) {
  CHECK(!segments.empty());
  const int64_t now_ms = clock_.NowMs();
  // If the clock steps back, a group lives longer, but not for ever: its rows are bounded, too.
  const bool full =
      group_.has_value() && (now_ms - group_begun_ms_ > options_.group_age_max.v ||
                             static_cast<int64_t>(group_->rows()) > options_.group_rows_max);
  Write write{.partition = partition,
              .token = token_,
              .first = segments.front().first,
              .next = segments.back().next,
              .watermark = segments.back().watermark,
              .topic_partition = partition.partition % partitions_,
              .groups_retention = options_.groups_retention};
  if (full || (group_.has_value() && group_->next != write.first)) group_ = std::nullopt;
  write.begins_group = !group_.has_value();
  ByteWriter dead, late;
  for (const Segment& segment : segments) {
    write.ledger.Add(segment.Total());
    for (const DeadLetter& event : segment.dead_letters) {
      const bool is_late = event.outcome == Outcome::kTooLate;
      (is_late ? late : dead).String(EncodeDeadLetter(partition, event));
      ++(is_late ? write.late_detections : write.dead_letters).count;
    }
    if (group_.has_value()) {
      group_->Merge(WithoutDeadLetters(segment));
    } else {
      group_ = WithoutDeadLetters(segment);
      group_begun_ms_ = now_ms;
    }
  }
  write.dead_letters.packed = dead.Take();
  write.late_detections.packed = late.Take();
  ByteWriter encoded;
  group_->Encode(encoded);
  write.group = {.first = group_->first,
                 .next = group_->next,
                 .newest_pane = NewestPane(*group_),
                 .data = encoded.Take()};
  return write;
}

// Runs on the writer's thread. It checks before it writes, so that a refusal leaves the transaction
// as it was.
Status CountsSink::Store(const Write& write, const Fences& fences, Transaction& transaction,
                         Answer& answer) {
  if (!fences.Owns(write.partition, write.token))
    return Status::Rebuild(fmt::format("a newer task owns the counts of '{}' partition {}",
                                       write.partition.source, write.partition.partition));
  Result<std::optional<CountsProgress>> stored = transaction.counts().ReadProgress(write.partition);
  if (!stored.ok()) return stored.status();
  CountsProgress progress{.next = write.next, .watermark = write.watermark};
  if (stored.value().has_value()) {
    const Offset committed = stored.value()->next;
    if (committed != write.first) {
      if (committed == write.next)
        return Status::Ok();  // that commit was done; its answer was lost
      return Status::Rebuild(fmt::format(
          "the counts of '{}' partition {} are committed up to {}, not {}", write.partition.source,
          write.partition.partition, committed.v, write.first.v));
    }
    progress.ledger = stored.value()->ledger;
  }
  progress.ledger.Add(write.ledger);
  RETURN_IF_ERROR(transaction.counts().WriteGroup(write.partition, write.group));
  RETURN_IF_ERROR(transaction.counts().WriteProgress(write.partition, progress));
  if (write.begins_group && write.watermark > kBeforeAllTime)
    RETURN_IF_ERROR(transaction.counts().DeleteGroups(write.partition,
                                                      write.watermark - write.groups_retention));
  RETURN_IF_ERROR(transaction.Append(kDeadLettersTopic, write.topic_partition,
                                     write.dead_letters.count, write.dead_letters.packed));
  RETURN_IF_ERROR(transaction.Append(kLateDetectionsTopic, write.topic_partition,
                                     write.late_detections.count, write.late_detections.packed));
  answer.written = true;
  return Status::Ok();
}

}  // namespace sightline::embedded_log
