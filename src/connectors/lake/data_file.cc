#include "connectors/lake/data_file.h"

#include <arrow/api.h>
#include <arrow/compute/api.h>
#include <arrow/compute/initialize.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/arrow/writer.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <simdjson.h>

#include <mutex>
#include <utility>

#include "connectors/lake/arrow_status.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/parquet_bytes.h"

namespace sightline::lake {
namespace {

// Readers skip row groups by their statistics. A bucket's rows are sorted by location, and a
// location has 72,000 of them in a day of 50 items a minute: it lies in one group or two.
constexpr int64_t kRowGroupRows = 1 << 17;

std::shared_ptr<arrow::DataType> TypeOf(const std::string& name) {
  if (name == "long") return arrow::int64();
  if (name == "integer") return arrow::int32();
  if (name == "double") return arrow::float64();
  if (name == "boolean") return arrow::boolean();
  if (name == "date") return arrow::date32();
  if (name == "timestamp") return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return arrow::utf8();
}

// Registers Arrow's functions beyond the core, once.
void UseCompute() {
  static std::once_flag once;
  std::call_once(once, [] { CHECK(arrow::compute::Initialize().ok()); });
}

arrow::Result<std::string> Encode(const arrow::Table& rows) {
  ARROW_ASSIGN_OR_RAISE(auto out, arrow::io::BufferOutputStream::Create());
  const auto properties = parquet::WriterProperties::Builder()
                              .compression(arrow::Compression::ZSTD)
                              ->version(parquet::ParquetVersion::PARQUET_2_6)
                              ->enable_page_checksum()
                              ->build();
  ARROW_RETURN_NOT_OK(parquet::arrow::WriteTable(rows, arrow::default_memory_pool(), out,
                                                 kRowGroupRows, properties));
  ARROW_ASSIGN_OR_RAISE(auto buffer, out->Finish());
  return buffer->ToString();
}

arrow::Result<std::shared_ptr<arrow::Table>> Decode(std::string bytes, const TableSpec& spec) {
  ARROW_ASSIGN_OR_RAISE(auto reader, OpenParquet(std::move(bytes)));
  ARROW_ASSIGN_OR_RAISE(auto table, reader->ReadTable());
  const auto schema = FileSchema(spec);
  std::vector<std::shared_ptr<arrow::ChunkedArray>> columns;
  for (const auto& field : schema->fields()) {
    auto column = table->GetColumnByName(field->name());
    // A file of an earlier program, or of another engine, may lack a column or use another width:
    // absent columns read as null, others are cast.
    if (column == nullptr) {
      ARROW_ASSIGN_OR_RAISE(auto nulls, arrow::MakeArrayOfNull(field->type(), table->num_rows()));
      column = std::make_shared<arrow::ChunkedArray>(std::move(nulls));
    } else if (!column->type()->Equals(*field->type())) {
      ARROW_ASSIGN_OR_RAISE(arrow::Datum cast, arrow::compute::Cast(column, field->type()));
      column = cast.chunked_array();
    }
    columns.push_back(std::move(column));
  }
  table = arrow::Table::Make(schema, std::move(columns), table->num_rows());
  ARROW_RETURN_NOT_OK(table->ValidateFull());
  return table;
}

// Not inlined: otherwise GCC 12 warns that the other members of FieldRef's variant are
// uninitialised.
[[gnu::noinline]] arrow::compute::SortKey KeyOf(const std::string& column) {
  return arrow::compute::SortKey(column);
}

arrow::Result<std::shared_ptr<arrow::Table>> Sort(const TableSpec& spec,
                                                  std::shared_ptr<arrow::Table> rows) {
  std::vector<arrow::compute::SortKey> keys;
  for (const std::string& column : spec.sort_columns)
    // Partition columns are constant within a file, and are not stored in it.
    if (!spec.IsPartition(column)) keys.push_back(KeyOf(column));
  ARROW_ASSIGN_OR_RAISE(auto order, arrow::compute::SortIndices(arrow::Datum(rows),
                                                                arrow::compute::SortOptions(keys)));
  ARROW_ASSIGN_OR_RAISE(auto sorted, arrow::compute::Take(arrow::Datum(rows), order));
  return sorted.table()->CombineChunks();
}

}  // namespace

std::shared_ptr<arrow::Schema> FileSchema(const TableSpec& spec) {
  arrow::FieldVector fields;
  for (const Column& column : spec.file_columns())
    fields.push_back(arrow::field(column.name, TypeOf(column.type)));
  return arrow::schema(std::move(fields));
}

int64_t RowsOf(const AddFile& file) {
  simdjson::dom::parser parser;
  int64_t rows = -1;
  if (file.stats.empty() || parser.parse(file.stats)["numRecords"].get(rows)) return -1;
  return rows;
}

bool MayHaveForeignValues(const TableSpec& spec, const AddFile& file) {
  return !spec.foreign_columns.empty() && !file.tags.contains(kContentHashTag);  // ours have none
}

Result<NewDataFile> EncodeDataFile(const Clock& clock, const TableSpec& spec,
                                   const PartitionValues& partition, const arrow::Table& rows) {
  arrow::Result<std::string> bytes = Encode(rows);
  if (!bytes.ok())
    return FromArrow(bytes.status(),
                     fmt::format("rows of table '{}' cannot be encoded", spec.name));
  AddFile file{.partition_values = partition,
               .size_bytes = static_cast<int64_t>(bytes->size()),
               .modified_ms = clock.NowMs(),
               .stats = StatsJson(rows),
               .tags = {{kContentHashTag, ContentHash(*bytes)}}};
  for (const std::string& column : spec.partition_columns)
    for (const PartitionValue& value : partition)
      if (value.column == column) file.path += fmt::format("{}={}/", column, *value.value);
  file.path += fmt::format("part-{}.zstd.parquet", RandomId());
  return NewDataFile{std::move(file), std::move(bytes).ValueUnsafe()};
}

Status PutDataFiles(Storage& storage, const TableSpec& spec,
                    const std::vector<NewDataFile>& files) {
  std::vector<NewFile> puts;
  for (const NewDataFile& file : files)
    puts.push_back({fmt::format("{}/{}", spec.name, file.add.path), file.bytes});
  const Status status = storage.PutFiles(puts, PutMode::kReplace).status();
  if (status.ok()) return status;
  for (const NewFile& put : puts) (void)storage.Delete(put.path);
  // Whether a name is durable or not: no commit refers to the file, so writing it again is safe.
  return status.code() == StatusCode::kRebuild ? Status::Retry(status.message()) : status;
}

Result<AddFile> WriteDataFile(Storage& storage, const Clock& clock, const TableSpec& spec,
                              const PartitionValues& partition, const arrow::Table& rows) {
  Result<NewDataFile> file = EncodeDataFile(clock, spec, partition, rows);
  if (!file.ok()) return file.status();
  AddFile add = file.value().add;
  std::vector<NewDataFile> files;
  files.push_back(std::move(file).value());
  RETURN_IF_ERROR(PutDataFiles(storage, spec, files));
  return add;
}

Result<std::string> StoragePath(const TableSpec& spec, const std::string& path) {
  if (path.find("://") != std::string::npos || path.starts_with('/') || path.starts_with("file:"))
    return Status::Stop(fmt::format(
        "file '{}' of table '{}' lies outside the table (a shallow clone?); write a deep copy",
        path, spec.name));
  return fmt::format("{}/{}", spec.name, UrlDecoded(path));
}

Result<std::shared_ptr<arrow::Table>> ReadDataFile(Storage& storage, const TableSpec& spec,
                                                   const AddFile& file) {
  const Result<std::string> path = StoragePath(spec, file.path);
  if (!path.ok()) return path.status();
  Result<std::optional<std::string>> bytes = storage.ReadWhole(path.value());
  if (!bytes.ok()) return bytes.status();
  if (!bytes.value().has_value())
    return Status::Stop(
        fmt::format("data file '{}' is gone: vacuumed, if an older version is read, otherwise "
                    "deleted by somebody; read a newer version, or restore the file from a copy",
                    path.value()));
  return DecodeDataFile(std::move(*bytes.value()), spec, file);
}

Result<std::shared_ptr<arrow::Table>> DecodeDataFile(std::string bytes, const TableSpec& spec,
                                                     const AddFile& file) {
  UseCompute();
  auto decoded = Decode(std::move(bytes), spec);
  if (!decoded.ok())
    return FromArrow(
        decoded.status(),
        fmt::format("data file '{}/{}' is damaged; restore it from a copy", spec.name, file.path));
  return std::move(decoded).ValueUnsafe();
}

void DeleteUncommitted(Storage& storage, const TableSpec& spec, const std::vector<AddFile>& files) {
  for (const AddFile& file : files)
    (void)storage.Delete(fmt::format("{}/{}", spec.name, file.path));
}

Result<std::shared_ptr<arrow::Table>> Sorted(const TableSpec& spec,
                                             std::shared_ptr<arrow::Table> rows) {
  UseCompute();
  auto sorted = Sort(spec, std::move(rows));
  if (!sorted.ok())
    return FromArrow(sorted.status(),
                     fmt::format("rows of table '{}' cannot be sorted", spec.name));
  return std::move(sorted).ValueUnsafe();
}

}  // namespace sightline::lake
