#include "query/write_parquet.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/files.h"
#include "query/row_scan.h"
#include "query/value_text.h"

namespace sightline {
namespace {

duckdb_type StoredAs(ColumnType type) {
  switch (type) {
    case ColumnType::kBoolean:
      return DUCKDB_TYPE_BOOLEAN;
    case ColumnType::kInteger:
      return DUCKDB_TYPE_BIGINT;
    case ColumnType::kDouble:
    case ColumnType::kNumber:
      return DUCKDB_TYPE_DOUBLE;
    case ColumnType::kTimestamp:
      return DUCKDB_TYPE_TIMESTAMP_TZ;
    case ColumnType::kLocalTime:  // in the file: not adjusted to UTC
      return DUCKDB_TYPE_TIMESTAMP;
    case ColumnType::kDate:
      return DUCKDB_TYPE_DATE;
    case ColumnType::kText:
    case ColumnType::kJson:
      return DUCKDB_TYPE_VARCHAR;
  }
  return DUCKDB_TYPE_VARCHAR;
}

class TableCursor final : public RowCursor {
 public:
  TableCursor(ResultTable* table, Status* failed) : table_(table), failed_(failed) {}
  Result<bool> Next() override {
    Result<const Row*> row = table_->Next();
    if (!row.ok()) *failed_ = row.status();
    if (!row.ok()) return row.status();
    row_ = row.value();
    return row_ != nullptr;
  }
  ScanCell Cell(size_t column) const override {
    const Value& value = (*row_)[column];
    if (const auto* text = std::get_if<std::string>(&value)) {
      if (table_->columns()[column].type == ColumnType::kNumber)
        return std::strtod(text->c_str(), nullptr);
      return std::string_view(*text);
    }
    if (const auto* number = std::get_if<int64_t>(&value)) return *number;
    if (const auto* real = std::get_if<double>(&value)) return *real;
    if (const auto* truth = std::get_if<bool>(&value)) return *truth;
    return {};
  }

 private:
  ResultTable* const table_;
  Status* const failed_;
  const Row* row_ = nullptr;
};

Status SendFile(int file, const ResultSink& sink) {
  std::array<char, 64 * 1024> buffer;
  for (off_t offset = 0;;) {
    const ssize_t size = pread(file, buffer.data(), buffer.size(), offset);
    if (size < 0) return SystemError(errno, "read", "the Parquet file in memory");
    if (size == 0) return Status::Ok();
    RETURN_IF_ERROR(sink({buffer.data(), static_cast<size_t>(size)}));
    offset += size;
  }
}

}  // namespace

// Uses a database of its own, because the one that runs queries may not write files. DuckDB writes
// to a file in memory: a process that answers questions may not write to the disk.
Status WriteParquet(ResultTable& table, const ResultSink& sink) {
  const File file(memfd_create("sightline-parquet", MFD_CLOEXEC));
  if (!file.ok()) return SystemError(errno, "create", "a Parquet file in memory");
  RowScans scans;
  Result<duck::Database> database =
      duck::Open({{"threads", "1"}, {"memory_limit", "256MB"}, {"temp_directory", ""}});
  if (!database.ok()) return database.status();
  Result<duck::Connection> connection = duck::Connect(database.value());
  if (!connection.ok()) return connection.status();
  RETURN_IF_ERROR(scans.Register(connection.value()));

  RowSource source;
  for (size_t i = 0; i < table.columns().size(); ++i) {
    source.columns.push_back({fmt::format("c{}", i), StoredAs(table.columns()[i].type)});
  }
  // DuckDB passes on only the text of a cursor's failure, so its status is kept here.
  Status failed = Status::Ok();
  source.open = [&table, &failed] { return std::make_unique<TableCursor>(&table, &failed); };
  const RowScans::Handle rows = scans.Add(std::move(source));
  std::string columns;
  int number = 0;
  for (const std::string& name : UniqueNames(table.columns())) {
    std::string quoted = "\"";
    for (const char c : name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    if (!columns.empty()) columns += ", ";
    columns += fmt::format("c{} AS {}\"", number++, quoted);
  }
  const Status copied = duck::Execute(
      connection.value(),
      fmt::format(
          "COPY (SELECT {} FROM {}) TO '/proc/self/fd/{}' (FORMAT parquet, USE_TMP_FILE false)",
          columns, rows.Sql(), file.fd()));
  RETURN_IF_ERROR(failed);
  RETURN_IF_ERROR(copied);
  return SendFile(file.fd(), sink);
}

}  // namespace sightline
