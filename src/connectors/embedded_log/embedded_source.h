// EmbeddedSource: one partition of an embedded log's topic as a Source.
//
// At the end of the partition it reads from the log's memory, and behind that from the file,
// several batches at a time. What was polled stays valid as long as its Batch, even if retention
// removes it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/embedded_log/block.h"
#include "connectors/embedded_log/readers.h"
#include "connectors/embedded_log/tail.h"
#include "engine/source.h"

namespace sightline::embedded_log {

class EmbeddedSource final : public Source {
 public:
  // `tail`, `stream` and `readers` outlive the source.
  EmbeddedSource(const Tail& tail, const Stream& stream, Readers& readers)
      : tail_(tail), stream_(stream), readers_(readers) {}

  Result<Offset> Earliest() override;
  Status Seek(Offset next) override;
  Result<Batch> Poll(int64_t records_max) override;

 private:
  using BlockPointer = std::shared_ptr<const Block>;
  // Makes block_ the block that holds next_. False: next_ is the end of the partition.
  Result<bool> FindBlock();
  Result<bool> ReadAhead(Offset end);
  Status EnterBlock(BlockPointer block);
  // Appends records of block_ until there are records_max of them, or the block ends.
  Status TakeRecords(int64_t records_max, std::vector<Record>& records);
  Status Behind(Offset oldest) const;
  Status Damaged(const Block& block) const;

  const Tail& tail_;
  const Stream& stream_;
  Readers& readers_;
  Offset next_;
  // The block that holds next_, and the byte where that record begins. Null: it must be looked up.
  BlockPointer block_;
  size_t position_ = 0;
  std::deque<BlockPointer> ahead_;  // read from the file; they follow block_
};

}  // namespace sightline::embedded_log
