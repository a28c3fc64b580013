// ResultTable: the rows of an answer, which are read once, from the first to the last.
//
// Rows are computed while they are read, so that a million of them are never in memory at once. One
// thread at a time. A table holds one of the engine's slots for running queries until it is
// destroyed or read to its end; it may outlive the engine. The query's time limit includes the time
// that the reader takes.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "query/incomplete_partition.h"

namespace sightline {

enum class ColumnType {
  kBoolean,    // bool
  kInteger,    // int64_t
  kDouble,     // double
  kNumber,     // std::string: digits that fit no int64_t, or a decimal fraction
  kText,       // std::string, UTF-8
  kTimestamp,  // int64_t: microseconds since the Unix epoch, UTC
  kLocalTime,  // int64_t: microseconds since 1970-01-01T00:00 on a clock of no known time zone
  kDate,       // int64_t: days since 1970-01-01
  kJson,       // std::string: lists, structs and maps as JSON
};
struct Column {
  std::string name;
  ColumnType type = ColumnType::kText;
  friend bool operator==(const Column&, const Column&) = default;
};
// A value of its column's type; std::monostate is null.
using Value = std::variant<std::monostate, bool, int64_t, double, std::string>;
using Row = std::vector<Value>;

// The source of a ResultTable's rows.
class RowReader {
 public:
  virtual ~RowReader() = default;
  // Fills `row`, which has one value per column; false at the end.
  virtual Result<bool> Next(Row& row) = 0;
};

class ResultTable {
 public:
  // Reads at most `rows_max` rows of `reader`.
  ResultTable(std::vector<Column> columns, std::unique_ptr<RowReader> reader, int64_t rows_max);
  static ResultTable FromRows(std::vector<Column> columns, std::vector<Row> rows);

  const std::vector<Column>& columns() const { return columns_; }
  // The next row, valid until the next call; null at the end. kStop: the query failed, or ran out
  // of time or memory; the rows read so far are not the whole answer.
  Result<const Row*> Next();
  // Valid after the end: whether the answer had more rows than the limit.
  bool truncated() const { return truncated_; }
  // The partitions of which the answer lacks something.
  const std::vector<IncompletePartition>& incomplete() const { return incomplete_; }
  void SetIncomplete(std::vector<IncompletePartition> incomplete) {
    incomplete_ = std::move(incomplete);
  }

 private:
  std::vector<Column> columns_;
  std::unique_ptr<RowReader> reader_;  // null after the end
  int64_t rows_left_;
  bool truncated_ = false;
  std::vector<IncompletePartition> incomplete_;
  Row row_;
};

// Reads all rows that are left.
Result<std::vector<Row>> ReadAll(ResultTable& table);

}  // namespace sightline
