// DuckReader: the answer of a prepared statement, chunk by chunk.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "query/duck.h"
#include "query/result_table.h"

namespace sightline {

// How a type of DuckDB reads for us; nothing: only as text.
std::optional<ColumnType> ReadableAs(duckdb_type type);

// The columns of a statement.
std::vector<Column> ColumnsOf(const duck::Prepared& prepared);

class DuckReader final : public RowReader {
 public:
  // Runs `prepared`, whose columns are all readable; the connection must outlive the reader.
  static Result<std::unique_ptr<DuckReader>> Start(duck::Prepared prepared);
  Result<bool> Next(Row& row) override;

 private:
  duck::Prepared prepared_;
  duck::ResultSet result_set_;
  duck::Chunk chunk_;
  idx_t row_ = 0, rows_ = 0;
  struct ColumnData {
    duckdb_type type;
    void* data;
    uint64_t* validity;
  };
  std::vector<ColumnData> columns_;
};

}  // namespace sightline
