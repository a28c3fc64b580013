#include <arrow/api.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/schema.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "connectors/lake/arrow_status.h"
#include "connectors/lake/checkpoint.h"
#include "connectors/lake/commit_json.h"
#include "connectors/lake/parquet_bytes.h"

namespace sightline::lake {
namespace {

// A child of a struct column, in whichever width its writer chose. Absent columns read as null.
class Child {
 public:
  Child(const arrow::StructArray& parent, const char* name) : array_(parent.GetFieldByName(name)) {}

  bool IsNull(int64_t row) const { return array_ == nullptr || array_->IsNull(row); }
  std::string Text(int64_t row) const { return IsNull(row) ? std::string() : TextOf(*array_, row); }
  int64_t Number(int64_t row) const {
    if (IsNull(row)) return 0;
    if (array_->type_id() == arrow::Type::INT32)
      return static_cast<const arrow::Int32Array&>(*array_).Value(row);
    if (array_->type_id() == arrow::Type::INT64)
      return static_cast<const arrow::Int64Array&>(*array_).Value(row);
    return 0;
  }
  // visit(key, value or nullopt)
  template <typename Visit>
  void ForEachEntry(int64_t row, const Visit& visit) const {
    if (IsNull(row) || array_->type_id() != arrow::Type::MAP) return;
    const auto& map = static_cast<const arrow::MapArray&>(*array_);
    for (int64_t i = map.value_offset(row); i < map.value_offset(row + 1); ++i)
      visit(TextOf(*map.keys(), i), map.items()->IsNull(i)
                                        ? std::nullopt
                                        : std::optional<std::string>(TextOf(*map.items(), i)));
  }
  std::vector<std::string> Texts(int64_t row) const {
    std::vector<std::string> texts;
    if (IsNull(row) || array_->type_id() != arrow::Type::LIST) return texts;
    const auto& list = static_cast<const arrow::ListArray&>(*array_);
    for (int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i)
      texts.push_back(TextOf(*list.values(), i));
    return texts;
  }

 private:
  static std::string TextOf(const arrow::Array& array, int64_t row) {
    switch (array.type_id()) {
      case arrow::Type::STRING:
        return static_cast<const arrow::StringArray&>(array).GetString(row);
      case arrow::Type::LARGE_STRING:
        return static_cast<const arrow::LargeStringArray&>(array).GetString(row);
      case arrow::Type::STRING_VIEW:
        return static_cast<const arrow::StringViewArray&>(array).GetString(row);
      default:
        return {};
    }
  }
  const std::shared_ptr<arrow::Array> array_;
};

PartitionValues PartitionsOf(const Child& map, int64_t row) {
  PartitionValues values;
  map.ForEachEntry(row, [&](std::string column, std::optional<std::string> value) {
    values.push_back({std::move(column), std::move(value)});
  });
  std::sort(values.begin(), values.end());
  return values;
}

std::map<std::string, std::string> MapOf(const Child& map, int64_t row) {
  std::map<std::string, std::string> result;
  map.ForEachEntry(row, [&](std::string key, std::optional<std::string> value) {
    result[std::move(key)] = value.value_or("");
  });
  return result;
}

Status ReadAdds(const arrow::StructArray& column, std::string_view path, Commit& commit) {
  const Child file(column, "path"), partitions(column, "partitionValues"), size(column, "size"),
      modified(column, "modificationTime"), stats(column, "stats"), tags(column, "tags"),
      deletion_vector(column, "deletionVector");
  for (int64_t row = 0; row < column.length(); ++row) {
    if (column.IsNull(row)) continue;
    // Ignoring the vector would bring deleted rows back.
    if (!deletion_vector.IsNull(row))
      return Status::Stop(fmt::format(
          "checkpoint '{}' has deletion vectors, which this program cannot read: rewrite the table "
          "in the engine that made them (Spark: REORG TABLE ... APPLY (PURGE))",
          path));
    commit.adds.push_back({.path = file.Text(row),
                           .partition_values = PartitionsOf(partitions, row),
                           .size_bytes = size.Number(row),
                           .modified_ms = modified.Number(row),
                           .stats = stats.Text(row),
                           .tags = MapOf(tags, row)});
  }
  return Status::Ok();
}

void ReadRemoves(const arrow::StructArray& column, Commit& commit) {
  const Child file(column, "path"), deleted(column, "deletionTimestamp"),
      partitions(column, "partitionValues"), size(column, "size");
  for (int64_t row = 0; row < column.length(); ++row)
    if (column.IsValid(row))
      commit.removes.push_back({.path = file.Text(row),
                                .deleted_ms = deleted.Number(row),
                                .partition_values = PartitionsOf(partitions, row),
                                .size_bytes = size.Number(row)});
}

void ReadTxns(const arrow::StructArray& column, Commit& commit) {
  const Child app(column, "appId"), version(column, "version");
  for (int64_t row = 0; row < column.length(); ++row)
    if (column.IsValid(row)) commit.txns.emplace_back(app.Text(row), version.Number(row));
}

void ReadTable(const arrow::StructArray& metadata, const arrow::StructArray& protocol,
               Commit& commit) {
  const Child id(metadata, "id"), name(metadata, "name"), description(metadata, "description"),
      schema(metadata, "schemaString"), columns(metadata, "partitionColumns"),
      configuration(metadata, "configuration"), created(metadata, "createdTime");
  for (int64_t row = 0; row < metadata.length(); ++row)
    if (metadata.IsValid(row))
      commit.metadata = Metadata{.id = id.Text(row),
                                 .name = name.Text(row),
                                 .description = description.Text(row),
                                 .schema_json = schema.Text(row),
                                 .partition_columns = columns.Texts(row),
                                 .configuration = MapOf(configuration, row),
                                 .created_ms = created.Number(row)};
  const Child reader(protocol, "minReaderVersion"), writer(protocol, "minWriterVersion");
  for (int64_t row = 0; row < protocol.length(); ++row)
    if (protocol.IsValid(row)) commit.protocol = Protocol{reader.Number(row), writer.Number(row)};
}

// The indices of the columns to read: those of our five actions, without statistics in columns.
std::vector<int> ColumnsToRead(const parquet::SchemaDescriptor& schema) {
  std::vector<int> columns;
  for (int i = 0; i < schema.num_columns(); ++i) {
    const std::vector<std::string> path = schema.Column(i)->path()->ToDotVector();
    const std::string& action = path.front();
    const bool ours = action == "txn" || action == "add" || action == "remove" ||
                      action == "metaData" || action == "protocol";
    const bool parsed =
        path.size() > 1 && (path[1] == "stats_parsed" || path[1] == "partitionValues_parsed");
    if (ours && !parsed) columns.push_back(i);
  }
  return columns;
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> ReadBatch(std::string bytes) {
  ARROW_ASSIGN_OR_RAISE(auto reader, OpenParquet(std::move(bytes)));
  const std::vector<int> columns = ColumnsToRead(*reader->parquet_reader()->metadata()->schema());
  ARROW_ASSIGN_OR_RAISE(auto table, reader->ReadTable(columns));
  ARROW_RETURN_NOT_OK(table->ValidateFull());
  return table->CombineChunksToBatch();
}

}  // namespace

Result<Snapshot> DecodeCheckpoint(std::vector<std::string> parts, Version version,
                                  std::string_view path) {
  const std::string damaged = fmt::format(
      "checkpoint '{}' is damaged; delete it if the commits before it are still there, otherwise "
      "restore it from a copy",
      path);
  Commit commit;
  for (std::string& bytes : parts) {
    const auto read = ReadBatch(std::move(bytes));
    if (!read.ok()) return FromArrow(read.status(), damaged);
    const arrow::RecordBatch& batch = *read.ValueUnsafe();
    const auto column = [&](const char* name) {
      return std::dynamic_pointer_cast<arrow::StructArray>(batch.GetColumnByName(name));
    };
    const auto metadata = column("metaData"), protocol = column("protocol"), add = column("add");
    if (metadata == nullptr || protocol == nullptr || add == nullptr)
      return Status::Stop(damaged + ": metaData, protocol or add is missing");
    ReadTable(*metadata, *protocol, commit);
    RETURN_IF_ERROR(ReadAdds(*add, path, commit));
    if (const auto remove = column("remove")) ReadRemoves(*remove, commit);
    if (const auto txn = column("txn")) ReadTxns(*txn, commit);
  }
  if (!commit.metadata.has_value() || !commit.protocol.has_value())
    return Status::Stop(damaged + ": it has no metaData or protocol");
  RETURN_IF_ERROR(CheckReadable(*commit.protocol, path));
  // The checkpoint is applied like one commit, which raises the version by one. It is like one of
  // ours: that files are in it does not make them files of others.
  commit.info.engine = kOurEngine;
  Snapshot snapshot{.version = {version.v - 1}, .checkpoint = version};
  snapshot.Apply(std::move(commit));
  return snapshot;
}

}  // namespace sightline::lake
