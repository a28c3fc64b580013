#include "query/duck_reader.h"

#include <fmt/format.h>

namespace sightline {
namespace {

// Bounds the text of a row, because every format copies it, and some make it longer.
constexpr size_t kRowTextBytesMax = 16 << 20;

// Whether Read() reads the type as text.
bool IsText(duckdb_type type) {
  return ReadableAs(type).value_or(ColumnType::kText) == ColumnType::kText;
}

// Reuses the memory of a string that `value` holds already.
void SetText(Value& value, std::string_view text) {
  if (auto* old = std::get_if<std::string>(&value)) {
    old->assign(text);
  } else {
    value = std::string(text);
  }
}

template <typename T>
int64_t At(const void* data, idx_t row) {
  return static_cast<int64_t>(static_cast<const T*>(data)[row]);
}

void Read(duckdb_type type, const void* data, idx_t row, Value& value) {
  switch (type) {
    case DUCKDB_TYPE_BOOLEAN:
      value = static_cast<const bool*>(data)[row];
      return;
    case DUCKDB_TYPE_TINYINT:
      value = At<int8_t>(data, row);
      return;
    case DUCKDB_TYPE_SMALLINT:
      value = At<int16_t>(data, row);
      return;
    case DUCKDB_TYPE_DATE:
    case DUCKDB_TYPE_INTEGER:
      value = At<int32_t>(data, row);
      return;
    case DUCKDB_TYPE_UTINYINT:
      value = At<uint8_t>(data, row);
      return;
    case DUCKDB_TYPE_USMALLINT:
      value = At<uint16_t>(data, row);
      return;
    case DUCKDB_TYPE_UINTEGER:
      value = At<uint32_t>(data, row);
      return;
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      value = At<int64_t>(data, row);
      return;
    case DUCKDB_TYPE_FLOAT:
      value = static_cast<double>(static_cast<const float*>(data)[row]);
      return;
    case DUCKDB_TYPE_DOUBLE:
      value = static_cast<const double*>(data)[row];
      return;
    default:
      SetText(value, duck::TextAt(data, row));
      return;
  }
}

}  // namespace

std::optional<ColumnType> ReadableAs(duckdb_type type) {
  switch (type) {
    case DUCKDB_TYPE_BOOLEAN:
      return ColumnType::kBoolean;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
      return ColumnType::kInteger;
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
      return ColumnType::kDouble;
    case DUCKDB_TYPE_VARCHAR:
      return ColumnType::kText;
    case DUCKDB_TYPE_TIMESTAMP:
      return ColumnType::kLocalTime;
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return ColumnType::kTimestamp;
    case DUCKDB_TYPE_DATE:
      return ColumnType::kDate;
    default:
      return std::nullopt;
  }
}

std::vector<Column> ColumnsOf(const duck::Prepared& prepared) {
  std::vector<Column> columns;
  const idx_t count = duckdb_prepared_statement_column_count(prepared.get());
  for (idx_t i = 0; i < count; ++i) {
    const char* name = duckdb_prepared_statement_column_name(prepared.get(), i);
    const duckdb_type type = duckdb_prepared_statement_column_type(prepared.get(), i);
    columns.push_back({name, ReadableAs(type).value_or(ColumnType::kText)});
    duckdb_free(const_cast<char*>(name));
  }
  return columns;
}

Result<std::unique_ptr<DuckReader>> DuckReader::Start(duck::Prepared prepared) {
  auto reader = std::make_unique<DuckReader>();
  reader->prepared_ = std::move(prepared);
  if (duckdb_execute_prepared_streaming(reader->prepared_.get(), reader->result_set_.out()) !=
      DuckDBSuccess) {
    return Status::Stop(duckdb_result_error(reader->result_set_.out()));
  }
  return reader;
}

Result<bool> DuckReader::Next(Row& row) {
  while (row_ == rows_) {
    chunk_ = duck::Chunk(duckdb_fetch_chunk(result_set_.get()));
    if (!chunk_) {
      if (const char* error = duckdb_result_error(result_set_.out())) return Status::Stop(error);
      return false;
    }
    row_ = 0;
    rows_ = duckdb_data_chunk_get_size(chunk_.get());
    columns_.clear();
    for (idx_t i = 0; i < duckdb_data_chunk_get_column_count(chunk_.get()); ++i) {
      duckdb_vector vector = duckdb_data_chunk_get_vector(chunk_.get(), i);
      columns_.push_back({duckdb_column_type(result_set_.out(), i), duckdb_vector_get_data(vector),
                          duckdb_vector_get_validity(vector)});
    }
  }
  size_t text_bytes = 0;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const ColumnData& column = columns_[i];
    if (IsText(column.type) && duck::ValidAt(column.validity, row_))
      text_bytes += duck::TextAt(column.data, row_).size();
    if (text_bytes > kRowTextBytesMax)
      return Status::Stop(
          fmt::format("a row of the answer has more than {} MiB of text: select less "
                      "of it, for example with left(x, 1000)",
                      kRowTextBytesMax >> 20));
    if (duck::ValidAt(column.validity, row_)) {
      Read(column.type, column.data, row_, row[i]);
    } else {
      row[i] = std::monostate();
    }
  }
  ++row_;
  return true;
}

}  // namespace sightline
