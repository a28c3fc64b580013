#include "connectors/embedded_log/embedded_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sightline::embedded_log {
namespace {

// One Poll() uses at most this many blocks and bytes; one read of the file returns at most
// kReadBytesMax.
constexpr size_t kBlocksMax = 256;
constexpr int64_t kPollBytesMax = int64_t{4} << 20;
constexpr int64_t kReadBytesMax = int64_t{1} << 20;

}  // namespace

Result<Offset> EmbeddedSource::Earliest() { return tail_.Look(stream_, next_).position.oldest; }

Status EmbeddedSource::Seek(Offset next) {
  const Stream::Position position = tail_.Look(stream_, next).position;
  // Keeps the refused position, so that the next Poll() refuses it again and Earliest() reports the
  // bound.
  if (next < position.oldest) {
    next_ = next;
    return Behind(position.oldest);
  }
  if (next > position.next)
    return Status::Stop(
        fmt::format("offset {} lies beyond the end {} of topic '{}' partition {}: records are "
                    "lost, or the log is older than what was made from it; restore the data "
                    "directory that belongs to the checkpoint",
                    next.v, position.next.v, stream_.topic, stream_.partition));
  next_ = next;
  block_ = nullptr;
  ahead_.clear();
  return Status::Ok();
}

Result<Batch> EmbeddedSource::Poll(int64_t records_max) {
  CHECK(records_max > 0);
  Batch batch{.first = next_, .next = next_};
  std::vector<BlockPointer> used;
  int64_t bytes = 0;
  while (static_cast<int64_t>(batch.records.size()) < records_max && used.size() < kBlocksMax &&
         bytes < kPollBytesMax) {
    const Result<bool> found = FindBlock();
    if (!found.ok()) {
      if (used.empty()) return found.status();
      break;  // return what there is; the next Poll() meets the error again
    }
    if (!found.value()) break;
    bytes += block_->memory();
    used.push_back(block_);
    const Status taken = TakeRecords(records_max, batch.records);
    if (!taken.ok()) return taken;
  }
  batch.next = next_;
  if (used.size() == 1) {
    batch.storage = std::move(used.front());
  } else if (!used.empty()) {
    // The batch owns all of its blocks, so its payloads outlive this source and retention.
    batch.storage = std::make_shared<std::vector<BlockPointer>>(std::move(used));
  }
  return batch;
}

Result<bool> EmbeddedSource::FindBlock() {
  if (block_ != nullptr && next_ < block_->next) return true;
  if (!ahead_.empty()) {
    BlockPointer block = std::move(ahead_.front());
    ahead_.pop_front();
    RETURN_IF_ERROR(EnterBlock(std::move(block)));
    return true;
  }
  block_ = nullptr;
  Tail::View view = tail_.Look(stream_, next_);
  if (next_ < view.position.oldest) return Behind(view.position.oldest);
  CHECK(next_ <= view.position.next);
  if (next_ == view.position.next) return false;
  // Not in memory any more: this reader is behind the tail, so it reads several batches at once.
  if (view.block == nullptr) return ReadAhead(view.position.next);
  RETURN_IF_ERROR(EnterBlock(std::move(view.block)));
  return true;
}

Result<bool> EmbeddedSource::ReadAhead(Offset end) {
  Result<Readers::Loan> reader = readers_.Borrow();
  if (!reader.ok()) return reader.status();
  Result<std::vector<BlockPointer>> blocks =
      reader.value()->batches.Read(stream_, next_, end, kReadBytesMax);
  if (!blocks.ok()) return blocks.status();
  if (blocks.value().empty()) {
    // The block is not there. Either retention has removed it since the look at the tail, or the
    // file is damaged.
    const Offset oldest = tail_.Look(stream_, next_).position.oldest;
    if (next_ < oldest) return Behind(oldest);
    return Status::Stop(fmt::format(
        "records [{}, {}) of topic '{}' partition {} are missing in table 'batches' of 'log.db'; "
        "restore the data directory from a copy, or move it away and count from a new log",
        next_.v, end.v, stream_.topic, stream_.partition));
  }
  std::move(blocks.value().begin(), blocks.value().end(), std::back_inserter(ahead_));
  BlockPointer block = std::move(ahead_.front());
  ahead_.pop_front();
  RETURN_IF_ERROR(EnterBlock(std::move(block)));
  return true;
}

Status EmbeddedSource::EnterBlock(BlockPointer block) {
  CHECK(block->first <= next_ && next_ < block->next);
  ByteReader in(block->records());
  for (Offset offset = block->first; offset < next_; ++offset.v) in.String();
  if (!in.ok()) return Damaged(*block);
  position_ = block->records().size() - in.remaining();
  block_ = std::move(block);
  return Status::Ok();
}

Status EmbeddedSource::TakeRecords(int64_t records_max, std::vector<Record>& records) {
  const std::string_view bytes = block_->records();
  ByteReader in(bytes.substr(position_));
  const int64_t room = records_max - static_cast<int64_t>(records.size());
  const int64_t count = std::min(room, block_->next.v - next_.v);
  records.reserve(records.size() + static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    records.push_back(
        {.offset = {next_.v + i}, .append_time = block_->append_time, .payload = in.String()});
  const bool at_end = next_.v + count == block_->next.v;
  // The checksum is right, but the bytes are not packed records: whoever wrote them was broken.
  if (!in.ok() || (at_end && in.remaining() > 0)) return Damaged(*block_);
  next_.v += count;
  position_ = bytes.size() - in.remaining();
  return Status::Ok();
}

Status EmbeddedSource::Behind(Offset oldest) const {
  return Status::Stop(fmt::format(
      "retention has removed the records [{}, {}) of topic '{}' partition {} before they were "
      "read; make retention longer than the longest stop",
      next_.v, oldest.v, stream_.topic, stream_.partition));
}

Status EmbeddedSource::Damaged(const Block& block) const {
  return Status::Stop(fmt::format(
      "records [{}, {}) of topic '{}' partition {} in table 'batches' of 'log.db' are not packed "
      "records; restore the data directory from a copy",
      block.first.v, block.next.v, stream_.topic, stream_.partition));
}

}  // namespace sightline::embedded_log
