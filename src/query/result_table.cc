#include "query/result_table.h"

#include <cstdint>

namespace sightline {
namespace {

class MemoryReader final : public RowReader {
 public:
  explicit MemoryReader(std::vector<Row> rows) : rows_(std::move(rows)) {}
  Result<bool> Next(Row& row) override {
    if (next_ == rows_.size()) return false;
    row = std::move(rows_[next_++]);
    return true;
  }

 private:
  std::vector<Row> rows_;
  size_t next_ = 0;
};

}  // namespace

ResultTable::ResultTable(std::vector<Column> columns, std::unique_ptr<RowReader> reader,
                         int64_t rows_max)
    : columns_(std::move(columns)),
      reader_(std::move(reader)),
      rows_left_(rows_max),
      row_(columns_.size()) {}

ResultTable ResultTable::FromRows(std::vector<Column> columns, std::vector<Row> rows) {
  return {std::move(columns), std::make_unique<MemoryReader>(std::move(rows)), INT64_MAX};
}

Result<const Row*> ResultTable::Next() {
  if (!reader_) return static_cast<const Row*>(nullptr);
  Result<bool> more = reader_->Next(row_);
  if (!more.ok() || !more.value() || rows_left_ == 0) {
    truncated_ = more.ok() && more.value();
    reader_.reset();
    if (!more.ok()) return more.status();
    return static_cast<const Row*>(nullptr);
  }
  --rows_left_;
  return &row_;
}

Result<std::vector<Row>> ReadAll(ResultTable& table) {
  std::vector<Row> rows;
  while (true) {
    Result<const Row*> row = table.Next();
    if (!row.ok()) return row.status();
    if (row.value() == nullptr) return rows;
    rows.push_back(*row.value());
  }
}

}  // namespace sightline
