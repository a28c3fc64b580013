#include "connectors/lake/table_sink.h"

#include <optional>

#include "connectors/lake/write_batch.h"

namespace sightline::lake {

Status LakeTableSink::Fence(const SourcePartition& partition, Epoch epoch) {
  if (fencing_ == nullptr) {
    committing_ = nullptr;
    token_ = 0;
    fencing_ = waker_.NewAnswer<LakeWriter::Answer>();
    writer_.Fence(partition, epoch, fencing_);
  }
  const std::optional<LakeWriter::Answer> answer = TakeFinished(fencing_);
  if (!answer.has_value()) return Status::Retry("the fence in the lake is under way");
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
    committing_ = waker_.NewAnswer<LakeWriter::Answer>();
    committing_next_ = segments.back().next;
    writer_.Write(options.table == kLedgerTable
                      ? ToLedger(partition, segments)
                      : ToIncrements(partition, segments, options.window_size),
                  token_, committing_);
  }
  const std::optional<LakeWriter::Answer> answer = TakeFinished(committing_);
  if (!answer.has_value()) return Status::Retry("the commit to the lake is under way");
  if (!answer->status.ok()) return answer->status;
  return committing_next_;
}

}  // namespace sightline::lake
