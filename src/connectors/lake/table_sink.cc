#include "connectors/lake/table_sink.h"

#include <utility>

#include "connectors/lake/write_batch.h"

namespace sightline::lake {

LakeTableSink::LakeTableSink(LakeWriter& writer, std::function<void()> on_answer)
    : writer_(writer), waker_(std::make_shared<Waker>()) {
  waker_->on_answer = std::move(on_answer);
}

LakeTableSink::~LakeTableSink() {
  const std::lock_guard lock(waker_->mutex);
  waker_->on_answer = nullptr;
}

std::shared_ptr<LakeWriter::Answer> LakeTableSink::NewAnswer() const {
  auto answer = std::make_shared<LakeWriter::Answer>();
  answer->notify = [waker = waker_] {
    const std::lock_guard lock(waker->mutex);
    if (waker->on_answer) waker->on_answer();
  };
  return answer;
}

bool LakeTableSink::Finished(const LakeWriter::Answer& answer) {
  return answer.finished.load(std::memory_order_acquire);
}

Status LakeTableSink::Fence(const SourcePartition& partition, Epoch epoch) {
  if (fencing_ == nullptr) {
    committing_ = nullptr;
    token_ = 0;
    fencing_ = NewAnswer();
    writer_.Fence(partition, epoch, fencing_);
  }
  if (!Finished(*fencing_)) return Status::Retry("the fence in the lake is under way");
  const auto answer = std::exchange(fencing_, nullptr);
  if (answer->status.ok()) token_ = answer->token;
  return answer->status;
}

// After the fence nobody else commits for the partition, and the writer's snapshot includes the
// fence's commit.
Result<Offset> LakeTableSink::Committed(const SourcePartition& partition) {
  const auto next = writer_.current()->Txn(OffsetTxn(writer_.options().table, partition));
  return next.has_value() ? Offset{*next} : kNoneCommitted;
}

Result<Offset> LakeTableSink::Commit(const SourcePartition& partition,
                                     std::span<const Segment> segments) {
  if (committing_ == nullptr) {
    const LakeWriterOptions& options = writer_.options();
    committing_ = NewAnswer();
    committing_next_ = segments.back().next;
    writer_.Write(options.table == kLedgerTable
                      ? ToLedger(partition, segments)
                      : ToIncrements(partition, segments, options.window_size),
                  token_, committing_);
  }
  if (!Finished(*committing_)) return Status::Retry("the commit to the lake is under way");
  const auto answer = std::exchange(committing_, nullptr);
  if (!answer->status.ok()) return answer->status;
  return committing_next_;
}

}  // namespace sightline::lake
