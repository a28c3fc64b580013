#include "query/write_parquet.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "query/row_scan.h"

namespace sightline {
namespace {

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& directory) : path_(directory + "/sightline-XXXXXX") {
    if (const int file = mkstemp(path_.data()); file >= 0) {
      close(file);
    } else {
      error_ = std::strerror(errno);
    }
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (error_.empty()) unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }
  const std::string& error() const { return error_; }

 private:
  std::string path_, error_;
};

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

Status SendFile(const std::string& path, const ByteSink& sink) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 64 * 1024> buffer;
  while (file) {
    file.read(buffer.data(), buffer.size());
    const auto size = static_cast<size_t>(file.gcount());
    if (size > 0) RETURN_IF_ERROR(sink({buffer.data(), size}));
  }
  return file.eof() ? Status::Ok() : Status::Stop(fmt::format("cannot read '{}'", path));
}

}  // namespace

// A database of its own: the one that runs queries may write nothing.
Status WriteParquet(ResultTable& table, const ByteSink& sink, const WriteOptions& options) {
  const TemporaryFile file(options.temporary_directory);
  if (!file.error().empty()) {
    return Status::Stop(
        fmt::format("cannot make a file in '{}': {}", options.temporary_directory, file.error()));
  }
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
  // What DuckDB makes of a cursor's failure is only a text.
  Status failed = Status::Ok();
  source.open = [&table, &failed] { return std::make_unique<TableCursor>(&table, &failed); };
  const RowScans::Handle rows = scans.Add(std::move(source));
  // Parquet's readers take a name twice badly.
  std::string columns;
  std::vector<std::string> names;
  for (const Column& column : table.columns()) {
    std::string name = column.name;
    for (int again = 1; std::find(names.begin(), names.end(), name) != names.end(); ++again) {
      name = fmt::format("{}_{}", column.name, again);
    }
    std::string quoted = "\"";
    for (const char c : name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    columns += fmt::format("{}c{} AS {}\"", names.empty() ? "" : ", ", names.size(), quoted);
    names.push_back(std::move(name));
  }
  const Status copied = duck::Execute(
      connection.value(), fmt::format("COPY (SELECT {} FROM {}) TO {} (FORMAT parquet)", columns,
                                      rows.Sql(), duck::Quoted(file.path())));
  RETURN_IF_ERROR(failed);
  RETURN_IF_ERROR(copied);
  return SendFile(file.path(), sink);
}

}  // namespace sightline
