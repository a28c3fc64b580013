// The statements on the tables 'batches' and 'streams', which layout.cc draws.
//
// Bound to one connection, and used by the thread that uses it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log_clock.h"
#include "base/status.h"
#include "connectors/embedded_log/block.h"
#include "connectors/embedded_log/sqlite.h"
#include "connectors/embedded_log/tail.h"

namespace sightline::embedded_log {

// The writer's statements.
class BatchWriter {
 public:
  static Result<BatchWriter> Create(Database& database);

  // Loads the rows of 'streams' and compares each with the batches that it claims to have. kStop if
  // they differ.
  Status LoadPositions(Database& database, Tail& tail);
  Status Insert(const Stream& stream, const Block& block);
  // What LogClock resumes at; it is written with the records that have this time.
  Status WriteClock(const LogClock::Anchor& anchor);
  static Result<std::optional<LogClock::Anchor>> ReadClock(Database& database);
  Status WritePosition(const Stream& stream, const Stream::Position& position);

  struct Stored {
    int64_t id = 0;
    std::string topic;
    int32_t partition = 0;
    Offset first, next;
    AppendTime append_time;
    int64_t bytes = 0;
  };
  // The oldest batches, in the order in which they were appended.
  Result<std::vector<Stored>> Oldest(int64_t rows_max);
  Status Delete(int64_t id);

 private:
  Statement insert_, write_position_, write_clock_, oldest_, delete_;
};

// A reader's statements.
class BatchReader {
 public:
  static Result<BatchReader> Create(Database& database);

  // Reads blocks from the one that holds `from`, until they have bytes_max or reach `end`: at least
  // one, or none if no block holds `from` any more. kStop if a block is damaged or missing.
  Result<std::vector<std::shared_ptr<const Block>>> Read(const Stream& stream, Offset from,
                                                         Offset end, int64_t bytes_max);

 private:
  Statement read_;
};

}  // namespace sightline::embedded_log
