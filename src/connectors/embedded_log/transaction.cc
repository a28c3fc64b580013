#include "connectors/embedded_log/transaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"

namespace sightline::embedded_log {

Status Transaction::Append(std::string_view topic, int32_t partition, int64_t count,
                           std::string packed) {
  if (count == 0) return Status::Ok();
  Staged& staged = Stage(topic, partition);
  records_ += count;
  bytes_ += static_cast<int64_t>(packed.size());
  if (static_cast<int64_t>(packed.size()) <= row_bytes_max_)
    return AppendPiece(staged, count, std::move(packed));
  // Cut the records into several rows, so that each stays bounded.
  std::string_view rest = packed;
  while (!rest.empty()) {
    ByteReader in(rest);
    int64_t records = 0;
    size_t end = 0;
    while (in.remaining() > 0) {
      in.String();
      CHECK(in.ok());
      const size_t record_end = rest.size() - in.remaining();
      if (records > 0 && static_cast<int64_t>(record_end) > row_bytes_max_) break;
      end = record_end;
      ++records;
    }
    RETURN_IF_ERROR(AppendPiece(staged, records, std::string(rest.substr(0, end))));
    rest.remove_prefix(end);
  }
  return Status::Ok();
}

Status Transaction::Remove(const BatchWriter::Stored& batch) {
  const auto damaged = [&batch](int64_t oldest) {
    return Status::Stop(fmt::format(
        "table 'batches' of 'log.db' is damaged: the oldest batch of topic '{}' partition {} is "
        "[{}, {}), and its oldest record should be {}; restore the data directory from a copy",
        batch.topic, batch.partition, batch.first.v, batch.next.v, oldest));
  };
  if (batch.partition < 0 || batch.partition >= tail_.partitions()) return damaged(0);
  Staged& staged = Stage(batch.topic, batch.partition);
  Stream::Position& position = staged.change.position;
  // Retention removes batches in the order of appending, so this must be the first one of its
  // partition. Anything else would leave a hole that no reader could explain.
  if (batch.first != position.oldest || batch.next > position.next)
    return damaged(position.oldest.v);
  RETURN_IF_ERROR(batches_.Delete(batch.id));
  position.oldest = batch.next;
  position.bytes -= batch.bytes;
  return Status::Ok();
}

Status Transaction::Finish() {
  for (auto& [stream, staged] : staged_) {
    if (staged.pieces_count > 0) RETURN_IF_ERROR(WriteRow(staged));
    RETURN_IF_ERROR(batches_.WritePosition(*stream, staged.change.position));
  }
  return Status::Ok();
}

std::vector<Tail::Change> Transaction::TakeChanges() {
  std::vector<Tail::Change> changes;
  changes.reserve(staged_.size());
  for (auto& [stream, staged] : staged_) changes.push_back(std::move(staged.change));
  staged_.clear();
  return changes;
}

Transaction::Staged& Transaction::Stage(std::string_view topic, int32_t partition) {
  Stream& stream = tail_.Get(topic, partition);
  const auto [it, is_new] = staged_.try_emplace(&stream);
  // Works on a copy of the position. The stream itself changes only when the transaction is
  // durable.
  if (is_new) it->second.change = {.stream = &stream, .position = stream.position};
  return it->second;
}

Status Transaction::AppendPiece(Staged& staged, int64_t count, std::string packed) {
  const auto size = static_cast<int64_t>(packed.size());
  if (staged.pieces_count > 0 && staged.pieces_bytes + size > row_bytes_max_)
    RETURN_IF_ERROR(WriteRow(staged));
  staged.pieces.push_back(std::move(packed));
  staged.pieces_bytes += size;
  staged.pieces_count += count;
  return Status::Ok();
}

Status Transaction::WriteRow(Staged& staged) {
  Stream::Position& position = staged.change.position;
  auto block = std::make_shared<Block>();  // shared: the tail and readers will have it, too
  block->first = position.next;
  block->next = {position.next.v + staged.pieces_count};
  // Append times never go back, whatever the machine's clock does, not even over restarts.
  block->append_time = std::max(now_, position.append_time);
  block->bytes.reserve(static_cast<size_t>(staged.pieces_bytes) + kPadding);
  for (const std::string& piece : staged.pieces) block->bytes.append(piece);
  block->bytes.append(kPadding, '\0');
  RETURN_IF_ERROR(batches_.Insert(*staged.change.stream, *block));
  position.next = block->next;
  position.append_time = block->append_time;
  position.bytes += staged.pieces_bytes;
  ++rows_;
  staged.pieces.clear();
  staged.pieces_bytes = 0;
  staged.pieces_count = 0;
  staged.change.blocks.push_back(std::move(block));
  return Status::Ok();
}

}  // namespace sightline::embedded_log
