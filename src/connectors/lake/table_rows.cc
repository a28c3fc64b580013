#include "connectors/lake/table_rows.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <charconv>
#include <map>
#include <tuple>
#include <utility>

#include "connectors/lake/data_file.h"
#include "connectors/lake/file_rows.h"

namespace sightline::lake {
namespace {

// The columns of one file by name, looked up once instead of for each row.
class Columns {
 public:
  explicit Columns(const arrow::RecordBatch& batch) : batch_(batch) {}
  const arrow::Int64Array* Longs(const char* name) const { return As<arrow::Int64Array>(name); }
  const arrow::Int32Array* Integers(const char* name) const { return As<arrow::Int32Array>(name); }
  const arrow::StringArray* Texts(const char* name) const { return As<arrow::StringArray>(name); }
  const arrow::TimestampArray* Times(const char* name) const {
    return As<arrow::TimestampArray>(name);
  }
  const arrow::BooleanArray* Truths(const char* name) const {
    return As<arrow::BooleanArray>(name);
  }

 private:
  template <typename Array>
  const Array* As(const char* name) const {
    return static_cast<const Array*>(batch_.column(batch_.schema()->GetFieldIndex(name)).get());
  }
  const arrow::RecordBatch& batch_;
};

struct Provenance {
  explicit Provenance(const Columns& columns)
      : source(columns.Texts("source")),
        partition(columns.Integers("source_partition")),
        first(columns.Longs("first_offset")),
        next(columns.Longs("next_offset")) {}
  void Read(int64_t row, FileRow& out) const {
    out.partition = {};
    // Rows of another engine have no provenance; they cannot be attributed to offsets.
    if (source->IsNull(row) || partition->IsNull(row) || first->IsNull(row) || next->IsNull(row))
      return;
    out.partition.source.assign(source->GetView(row));
    out.partition.partition = partition->Value(row);
    out.first = {first->Value(row)};
    out.next = {next->Value(row)};
  }
  const arrow::StringArray* source;
  const arrow::Int32Array* partition;
  const arrow::Int64Array* first;
  const arrow::Int64Array* next;
};

EventTime TimeAt(const arrow::TimestampArray& array, int64_t row) {
  return {array.Value(row) / 1000};
}

Status NullValue(const TableSpec& spec, const AddFile& file) {
  return Status::Stop(
      fmt::format("data file '{}/{}' has a row without a required value; restore it from a copy",
                  spec.name, file.path));
}

// The location of a file below its location's directory; 0 if the location is a column.
Result<int64_t> LocationOf(const TableSpec& spec, const AddFile& file) {
  int64_t location = 0;
  if (!spec.IsPartition("geographical_location_oid")) return location;
  for (const PartitionValue& value : file.partition_values)
    if (value.column == "geographical_location_oid" && value.value.has_value()) {
      const char* end = value.value->data() + value.value->size();
      if (std::from_chars(value.value->data(), end, location).ptr == end) return location;
    }
  return NullValue(spec, file);
}

Status ReadIncrements(const TableSpec& spec, const AddFile& file, const arrow::RecordBatch& batch,
                      const std::function<void(const FileRow&)>& take) {
  const Columns columns(batch);
  const Provenance provenance(columns);
  const Result<int64_t> location = LocationOf(spec, file);
  if (!location.ok()) return location.status();
  const bool by_location = spec.IsPartition("geographical_location_oid");
  const auto* locations = by_location ? nullptr : columns.Longs("geographical_location_oid");
  const auto* item = columns.Texts("item_name");
  const auto* kind = columns.Texts("kind");
  const auto* start = columns.Times("window_start");
  const auto* count = columns.Longs("item_count");
  const auto* first = columns.Times("first_detected");
  const auto* last = columns.Times("last_detected");
  FileRow out;
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    if (item->IsNull(row) || start->IsNull(row) || count->IsNull(row)) return NullValue(spec, file);
    provenance.Read(row, out);
    out.window.key.pane_start = TimeAt(*start, row);
    out.window.key.location = {by_location ? location.value() : locations->Value(row)};
    out.window.key.item.assign(item->GetView(row));
    out.window.key.kind =
        kind->GetView(row) == "correction" ? CountKind::kCorrection : CountKind::kCount;
    out.window.count = count->Value(row);
    out.window.first_detected = TimeAt(*first, row);
    out.window.last_detected = TimeAt(*last, row);
    take(out);
  }
  return Status::Ok();
}

Status ReadLedger(const TableSpec& spec, const AddFile& file, const arrow::RecordBatch& batch,
                  const std::function<void(const FileRow&)>& take) {
  const Columns columns(batch);
  const Provenance provenance(columns);
  const auto* location = columns.Longs("geographical_location_oid");
  const auto* camera = columns.Longs("video_camera_oid");
  const auto* hour = columns.Times("append_hour");
  const auto* coverage = columns.Truths("coverage");
  std::vector<const arrow::Int64Array*> numbers;
  for (const char* name : {"received", "counted", "duplicate", "too_late", "future", "malformed",
                           "outside", "conflicts", "heartbeats"})
    numbers.push_back(columns.Longs(name));
  const auto* lost = spec.Has("lost") ? columns.Longs("lost") : nullptr;
  FileRow out;
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    provenance.Read(row, out);
    if (out.partition.source.empty() || coverage->IsNull(row)) return NullValue(spec, file);
    out.coverage = coverage->Value(row);
    LedgerKey& key = out.ledger.key;
    key = {.known = location->IsValid(row)};
    if (key.known) key.location = {location->Value(row)};
    if (key.known) key.camera = {camera->Value(row)};
    key.hour = hour->IsNull(row) ? kNoAppendTime : AppendTime{TimeAt(*hour, row).v};
    Ledger& ledger = out.ledger.ledger;
    ledger.received = numbers[0]->Value(row);
    for (size_t i = 0; i < kOutcomes; ++i) ledger.outcomes[i] = numbers[i + 1]->Value(row);
    ledger.conflicts = numbers[kOutcomes + 1]->Value(row);
    ledger.heartbeats = numbers[kOutcomes + 2]->Value(row);
    ledger.lost = lost == nullptr || lost->IsNull(row) ? 0 : lost->Value(row);
    take(out);
  }
  return Status::Ok();
}

}  // namespace

Status ForEachFileRow(const TableSpec& spec, const AddFile& file, const arrow::Table& rows,
                      const std::function<void(const FileRow&)>& take) {
  const auto batch = rows.CombineChunksToBatch();
  if (!batch.ok()) return Status::Retry(batch.status().message());
  return spec.name == kLedgerTable ? ReadLedger(spec, file, **batch, take)
                                   : ReadIncrements(spec, file, **batch, take);
}

Status ForEachWriteBatch(Storage& storage, std::string_view table, const Snapshot& snapshot,
                         const std::function<void(WriteBatch&&)>& take) {
  const Result<TableSpec> spec = SpecOf(table, snapshot);
  if (!spec.ok()) return spec.status();
  std::vector<FilePtr> files;
  snapshot.files.ForEach([&](const FilePtr& file) { files.push_back(file); });
  for (const FilePtr& file : files) {
    const auto rows = ReadDataFile(storage, spec.value(), *file);
    if (!rows.ok()) return rows.status();
    std::map<std::tuple<SourcePartition, Offset, Offset>, WriteBatch> batches;
    RETURN_IF_ERROR(ForEachFileRow(spec.value(), *file, *rows.value(), [&](const FileRow& row) {
      // Provenance is the identity of a commit's rows, also after a compaction has mixed them in
      // one file.
      WriteBatch& batch = batches[{row.partition, row.first, row.next}];
      batch.partition = row.partition;
      batch.first = row.first;
      batch.next = row.next;
      if (table == kIncrementsTable) batch.windows.push_back(row.window);
      if (table == kLedgerTable && !row.coverage) batch.ledger.push_back(row.ledger);
    }));
    for (auto& [range, batch] : batches) take(std::move(batch));
  }
  return Status::Ok();
}

}  // namespace sightline::lake
