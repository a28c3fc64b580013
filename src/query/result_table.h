// ResultTable: the rows of an answer, read once from the first to the last.
//
// Rows are computed while they are read, so that a million of them need no copy of them all. One
// thread at a time. A table holds one of the engine's slots for running queries until it is
// destroyed or read to its end; it may outlive the engine. The time limit of the query includes the
// reading.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"

namespace sightline {

enum class ColumnType {
  kBoolean,    // bool
  kInteger,    // int64_t
  kDouble,     // double
  kNumber,     // std::string: digits that fit no int64_t, or a decimal fraction
  kText,       // std::string, UTF-8
  kTimestamp,  // int64_t: microseconds since the Unix epoch, UTC
  kDate,       // int64_t: days since 1970-01-01
  kJson,       // std::string: lists, structs and maps as JSON
};
struct Column {
  std::string name;
  ColumnType type = ColumnType::kText;
  friend bool operator==(const Column&, const Column&) = default;
};
// What the column's type says; std::monostate is null.
using Value = std::variant<std::monostate, bool, int64_t, double, std::string>;
using Row = std::vector<Value>;

// What a ResultTable reads from.
class RowReader {
 public:
  virtual ~RowReader() = default;
  // Fills `row`, which has one value a column; false at the end.
  virtual Result<bool> Next(Row& row) = 0;
};

class ResultTable {
 public:
  // Reads at most `rows_max` rows of `reader`.
  ResultTable(std::vector<Column> columns, std::unique_ptr<RowReader> reader, int64_t rows_max);
  static ResultTable FromRows(std::vector<Column> columns, std::vector<Row> rows);

  const std::vector<Column>& columns() const { return columns_; }
  // The next row, valid until the next call; null at the end. kStop: the query failed or ran out of
  // time or memory; what was read before is not the whole answer.
  Result<const Row*> Next();
  // After the end: whether there were more rows than the limit.
  bool truncated() const { return truncated_; }

 private:
  std::vector<Column> columns_;
  std::unique_ptr<RowReader> reader_;  // null: at the end
  int64_t rows_left_;
  bool truncated_ = false;
  Row row_;
};

// All the rows that are left.
Result<std::vector<Row>> ReadAll(ResultTable& table);

}  // namespace sightline
