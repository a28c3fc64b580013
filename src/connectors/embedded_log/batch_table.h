// BatchTable: the statements on the tables 'batches' and 'streams' (layout.cc draws them).
//
// Bound to one connection and used by its thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/embedded_log/block.h"
#include "connectors/embedded_log/sqlite.h"
#include "connectors/embedded_log/tail.h"

namespace sightline::embedded_log {

// For the writer.
class BatchWriter {
 public:
  static Result<BatchWriter> Create(Database& database);

  // The rows of 'streams', each compared with the batches that it says it has. kStop if they
  // differ.
  Status LoadPositions(Database& database, Tail& tail);
  Status Insert(const Stream& stream, const Block& block);
  Status WritePosition(const Stream& stream, const Stream::Position& position);

  struct Stored {
    int64_t id = 0;
    std::string topic;
    int32_t partition = 0;
    Offset first, next;
    AppendTime append_time;
    int64_t bytes = 0;
  };
  // In the order of appending.
  Result<std::vector<Stored>> Oldest(int64_t rows_max);
  Status Delete(int64_t id);

 private:
  Statement insert_, write_position_, oldest_, delete_;
};

// For readers.
class BatchReader {
 public:
  static Result<BatchReader> Create(Database& database);

  // The blocks from the one that holds `from` on, until they hold bytes_max or reach `end`: at
  // least one, unless nothing holds `from` any more (then none). kStop: a block is damaged or
  // missing.
  Result<std::vector<std::shared_ptr<const Block>>> Read(const Stream& stream, Offset from,
                                                         Offset end, int64_t bytes_max);

 private:
  Statement read_;
};

}  // namespace sightline::embedded_log
