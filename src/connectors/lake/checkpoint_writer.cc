// Layout: five nullable struct columns - txn, add, remove, metaData, protocol. Exactly one of them
// is set in each row.
#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/arrow/writer.h>

#include <memory>
#include <utility>

#include "connectors/lake/arrow_status.h"
#include "connectors/lake/checkpoint.h"
#include "connectors/lake/log_names.h"

namespace sightline::lake {
namespace {

using arrow::field;
using arrow::int32;
using arrow::int64;
using arrow::utf8;

std::shared_ptr<arrow::DataType> StringMapType() { return arrow::map(utf8(), utf8()); }

std::shared_ptr<arrow::Schema> CheckpointSchema() {
  const auto strings = StringMapType();
  return arrow::schema(
      {field("txn", arrow::struct_({field("appId", utf8()), field("version", int64()),
                                    field("lastUpdated", int64())})),
       field("add", arrow::struct_({field("path", utf8()), field("partitionValues", strings),
                                    field("size", int64()), field("modificationTime", int64()),
                                    field("dataChange", arrow::boolean()), field("tags", strings),
                                    field("stats", utf8())})),
       field("remove", arrow::struct_({field("path", utf8()), field("deletionTimestamp", int64()),
                                       field("dataChange", arrow::boolean()),
                                       field("extendedFileMetadata", arrow::boolean()),
                                       field("partitionValues", strings), field("size", int64())})),
       field("metaData",
             arrow::struct_(
                 {field("id", utf8()), field("name", utf8()), field("description", utf8()),
                  field("format",
                        arrow::struct_({field("provider", utf8()), field("options", strings)})),
                  field("schemaString", utf8()), field("partitionColumns", arrow::list(utf8())),
                  field("configuration", strings), field("createdTime", int64())})),
       field("protocol", arrow::struct_({field("minReaderVersion", int32()),
                                         field("minWriterVersion", int32())}))});
}

// Fills one struct column. Builders fail only when memory runs out, so the first failure is kept
// and checked at the end.
class StructColumn {
 public:
  explicit StructColumn(arrow::ArrayBuilder* builder)
      : builder_(static_cast<arrow::StructBuilder*>(builder)) {}

  void Begin() { Keep(builder_->Append()); }
  void Null() { Keep(builder_->AppendNull()); }
  void Text(int at, std::string_view text) { Keep(At<arrow::StringBuilder>(at).Append(text)); }
  void TextOrNull(int at, std::string_view text) {
    auto& builder = At<arrow::StringBuilder>(at);
    Keep(text.empty() ? builder.AppendNull() : builder.Append(text));
  }
  void Number(int at, int64_t number) { Keep(At<arrow::Int64Builder>(at).Append(number)); }
  void Number32(int at, int64_t number) {
    Keep(At<arrow::Int32Builder>(at).Append(static_cast<int32_t>(number)));
  }
  void NullNumber(int at) { Keep(At<arrow::Int64Builder>(at).AppendNull()); }
  void Truth(int at, bool truth) { Keep(At<arrow::BooleanBuilder>(at).Append(truth)); }
  void Map(int at, const std::map<std::string, std::string>& map) {
    auto& builder = At<arrow::MapBuilder>(at);
    Keep(builder.Append());
    for (const auto& [key, value] : map) {
      Keep(static_cast<arrow::StringBuilder*>(builder.key_builder())->Append(key));
      Keep(static_cast<arrow::StringBuilder*>(builder.item_builder())->Append(value));
    }
  }
  void Map(int at, const PartitionValues& values) {
    auto& builder = At<arrow::MapBuilder>(at);
    Keep(builder.Append());
    for (const PartitionValue& value : values) {
      Keep(static_cast<arrow::StringBuilder*>(builder.key_builder())->Append(value.column));
      auto* item = static_cast<arrow::StringBuilder*>(builder.item_builder());
      Keep(value.value.has_value() ? item->Append(*value.value) : item->AppendNull());
    }
  }
  void List(int at, const std::vector<std::string>& texts) {
    auto& builder = At<arrow::ListBuilder>(at);
    Keep(builder.Append());
    for (const std::string& text : texts)
      Keep(static_cast<arrow::StringBuilder*>(builder.value_builder())->Append(text));
  }
  StructColumn Child(int at) { return StructColumn(builder_->field_builder(at)); }
  void Keep(const arrow::Status& status) {
    if (status_.ok()) status_ = status;
  }
  const arrow::Status& status() const { return status_; }

 private:
  template <typename Builder>
  Builder& At(int at) {
    return *static_cast<Builder*>(builder_->field_builder(at));
  }
  arrow::StructBuilder* const builder_;
  arrow::Status status_;
};

enum ActionColumn : size_t { kTxn, kAdd, kRemove, kMetadata, kProtocol, kColumns };

void AppendMetadata(const Metadata& metadata, StructColumn& column) {
  column.Text(0, metadata.id);
  column.TextOrNull(1, metadata.name);
  column.TextOrNull(2, metadata.description);
  StructColumn format = column.Child(3);
  format.Begin();
  format.Text(0, "parquet");
  format.Map(1, std::map<std::string, std::string>());
  column.Keep(format.status());
  column.Text(4, metadata.schema_json);
  column.List(5, metadata.partition_columns);
  column.Map(6, metadata.configuration);
  column.Number(7, metadata.created_ms);
}

void AppendRows(const Snapshot& snapshot, int64_t now_ms, std::vector<StructColumn>& columns) {
  const auto row = [&](ActionColumn at) -> StructColumn& {
    for (size_t i = 0; i < kColumns; ++i) i == at ? columns[i].Begin() : columns[i].Null();
    return columns[at];
  };
  StructColumn& protocol = row(kProtocol);
  protocol.Number32(0, snapshot.protocol.reader);
  protocol.Number32(1, snapshot.protocol.writer);
  AppendMetadata(*snapshot.metadata, row(kMetadata));
  for (const auto& [app, version] : snapshot.txns) {
    StructColumn& txn = row(kTxn);
    txn.Text(0, app);
    txn.Number(1, version);
    txn.NullNumber(2);
  }
  snapshot.files.ForEach([&](const FilePtr& file) {
    StructColumn& add = row(kAdd);
    add.Text(0, file->path);
    add.Map(1, file->partition_values);
    add.Number(2, file->size_bytes);
    add.Number(3, file->modified_ms);
    add.Truth(4, false);
    add.Map(5, file->tags);
    add.TextOrNull(6, file->stats);
  });
  snapshot.tombstones.ForEach([&](const std::shared_ptr<const Tombstone>& tombstone) {
    // Older tombstones are of no use: a vacuum may have deleted their files long ago.
    if (tombstone->deleted_ms < now_ms - kTombstoneRetentionMs) return;
    StructColumn& remove = row(kRemove);
    remove.Text(0, tombstone->path);
    remove.Number(1, tombstone->deleted_ms);
    remove.Truth(2, false);
    remove.Truth(3, true);
    remove.Map(4, tombstone->partition_values);
    remove.Number(5, tombstone->size_bytes);
  });
}

arrow::Result<std::string> Encode(const Snapshot& snapshot, int64_t now_ms) {
  const auto schema = CheckpointSchema();
  ARROW_ASSIGN_OR_RAISE(auto builder,
                        arrow::RecordBatchBuilder::Make(schema, arrow::default_memory_pool()));
  std::vector<StructColumn> columns;
  for (int i = 0; i < static_cast<int>(kColumns); ++i) columns.emplace_back(builder->GetField(i));
  AppendRows(snapshot, now_ms, columns);
  for (const StructColumn& column : columns) ARROW_RETURN_NOT_OK(column.status());
  ARROW_ASSIGN_OR_RAISE(auto batch, builder->Flush());
  ARROW_ASSIGN_OR_RAISE(auto table, arrow::Table::FromRecordBatches({batch}));
  ARROW_ASSIGN_OR_RAISE(auto out, arrow::io::BufferOutputStream::Create());
  const auto properties = parquet::WriterProperties::Builder()
                              .compression(arrow::Compression::SNAPPY)
                              ->enable_page_checksum()
                              ->build();
  ARROW_RETURN_NOT_OK(
      parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, 100'000, properties));
  ARROW_ASSIGN_OR_RAISE(auto buffer, out->Finish());
  return buffer->ToString();
}

}  // namespace

Result<std::string> EncodeCheckpoint(const Snapshot& snapshot, int64_t now_ms) {
  arrow::Result<std::string> encoded = Encode(snapshot, now_ms);
  if (!encoded.ok())
    return FromArrow(encoded.status(), fmt::format("the checkpoint of version {} cannot be encoded",
                                                   snapshot.version.v));
  return std::move(encoded).ValueUnsafe();
}

Status WriteCheckpoint(Storage& storage, std::string_view table, const Snapshot& snapshot,
                       int64_t now_ms) {
  Result<std::string> bytes = EncodeCheckpoint(snapshot, now_ms);
  if (!bytes.ok()) return bytes.status();
  const Result<PutOutcome> put =
      storage.Put(CheckpointPath(table, snapshot.version), bytes.value(), PutMode::kReplace);
  if (!put.ok()) return put.status();
  // `_last_checkpoint` is only a hint for readers. So it is written after the checkpoint that it
  // names.
  const size_t rows = 2 + snapshot.txns.size() + snapshot.files.size() + snapshot.tombstones.size();
  return storage
      .Put(LastCheckpointPath(table),
           fmt::format(R"({{"version":{},"size":{}}})", snapshot.version.v, rows),
           PutMode::kReplace)
      .status();
}

}  // namespace sightline::lake
