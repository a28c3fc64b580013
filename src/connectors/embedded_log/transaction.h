// Transaction: one SQLite transaction of the writer's thread, and what it changes in memory once it
// is durable.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/embedded_log/batch_table.h"
#include "connectors/embedded_log/block.h"
#include "connectors/embedded_log/counts_table.h"
#include "connectors/embedded_log/tail.h"
#include "model/types.h"

namespace sightline::embedded_log {

class Transaction {
 public:
  Transaction(BatchWriter& batches, CountsTable& counts, Tail& tail, AppendTime now,
              int64_t row_bytes_max)
      : batches_(batches), counts_(counts), tail_(tail), now_(now), row_bytes_max_(row_bytes_max) {}

  // Appends packed records. A row is written when it is large enough, or by Finish(), so that many
  // small appends to a partition become one row.
  Status Append(std::string_view topic, int32_t partition, int64_t count, std::string packed);
  // Removes the oldest batch of its partition.
  Status Remove(const BatchWriter::Stored& batch);
  CountsTable& counts() { return counts_; }

  // Writes everything that is still only in memory. Call it before COMMIT.
  Status Finish();
  // Call it after COMMIT.
  std::vector<Tail::Change> TakeChanges();
  int64_t records() const { return records_; }
  int64_t bytes() const { return bytes_; }
  int64_t rows() const { return rows_; }

 private:
  struct Staged {
    Tail::Change change;
    // Records behind change.position.next that are not in a row yet.
    std::vector<std::string> pieces;
    int64_t pieces_bytes = 0;
    int64_t pieces_count = 0;
  };
  Staged& Stage(std::string_view topic, int32_t partition);
  Status AppendPiece(Staged& staged, int64_t count, std::string packed);
  Status WriteRow(Staged& staged);

  BatchWriter& batches_;
  CountsTable& counts_;
  Tail& tail_;
  const AppendTime now_;
  const int64_t row_bytes_max_;
  std::map<Stream*, Staged> staged_;
  int64_t records_ = 0, bytes_ = 0, rows_ = 0;
};

}  // namespace sightline::embedded_log
