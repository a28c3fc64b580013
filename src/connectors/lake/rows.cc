#include "connectors/lake/rows.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "connectors/lake/arrow_status.h"
#include "connectors/lake/data_file.h"
#include "model/location.h"

namespace sightline::lake {
namespace {

// Appends rows field by field, in the order of the schema. Builders fail only when memory runs out,
// so the first failure is kept and checked at the end.
class RowWriter {
 public:
  static Result<RowWriter> Create(const TableSpec& spec) {
    auto builder = arrow::RecordBatchBuilder::Make(FileSchema(spec), arrow::default_memory_pool());
    if (!builder.ok()) return FromArrow(builder.status(), "rows cannot be built");
    return RowWriter(std::move(builder).ValueUnsafe());
  }
  void Begin() { at_ = 0; }
  void Long(int64_t value) { Keep(Next<arrow::Int64Builder>().Append(value)); }
  void Integer(int32_t value) { Keep(Next<arrow::Int32Builder>().Append(value)); }
  void Text(std::string_view value) { Keep(Next<arrow::StringBuilder>().Append(value)); }
  void Time(int64_t ms) { Keep(Next<arrow::TimestampBuilder>().Append(ms * 1000)); }
  void Truth(bool value) { Keep(Next<arrow::BooleanBuilder>().Append(value)); }
  void Double(double value) { Keep(Next<arrow::DoubleBuilder>().Append(value)); }
  void Null() { Keep(batch_->GetField(at_++)->AppendNull()); }
  void TextOrNull(std::string_view value) { value.empty() ? Null() : Text(value); }

  Result<std::shared_ptr<arrow::Table>> Finish() {
    if (!status_.ok()) return FromArrow(status_, "rows cannot be built");
    auto batch = batch_->Flush();
    if (!batch.ok()) return FromArrow(batch.status(), "rows cannot be built");
    auto table = arrow::Table::FromRecordBatches({*batch});
    if (!table.ok()) return FromArrow(table.status(), "rows cannot be built");
    return std::move(table).ValueUnsafe();
  }

 private:
  explicit RowWriter(std::unique_ptr<arrow::RecordBatchBuilder> batch) : batch_(std::move(batch)) {}
  template <typename Builder>
  Builder& Next() {
    return *batch_->GetFieldAs<Builder>(at_++);
  }
  void Keep(const arrow::Status& status) {
    if (status_.ok()) status_ = status;
  }
  std::unique_ptr<arrow::RecordBatchBuilder> batch_;
  int at_ = 0;
  arrow::Status status_;
};

void WriteProvenance(const WriteBatch& batch, RowWriter& out) {
  out.Text(batch.partition.source);
  out.Integer(batch.partition.partition);
  out.Long(batch.first.v);
  out.Long(batch.next.v);
}

// One row of item_count_increments, before the rows are divided into files.
struct Cell {
  Day day;
  int64_t place = 0;  // the second partition value: location or bucket
  const CountRow* row = nullptr;
  const WriteBatch* batch = nullptr;
  auto order() const {
    return std::tie(place, day, row->key.location, row->key.pane_start, row->key.item,
                    row->key.kind);
  }
};

Status TakeIncrements(const TableSpec& spec, const RowContext& context, std::span<const Cell> cells,
                      const TakeRows& take) {
  const bool by_location = spec.IsPartition("geographical_location_oid");
  Result<RowWriter> created = RowWriter::Create(spec);
  if (!created.ok()) return created.status();
  RowWriter& out = created.value();
  for (const Cell& cell : cells) {
    const CountRow& row = *cell.row;
    out.Begin();
    if (!by_location) out.Long(row.key.location.v);
    out.TextOrNull(context.location_name ? context.location_name(row.key.location) : "");
    out.Text(row.key.item);
    out.Time(row.key.pane_start.v);
    out.Time((row.key.pane_start + context.window_size).v);
    out.Long(row.count);
    out.Time(row.first_detected.v);
    out.Time(row.last_detected.v);
    out.Text(row.key.kind == CountKind::kCount ? "count" : "correction");
    out.Text(context.engine);
    WriteProvenance(*cell.batch, out);
  }
  const Result<std::shared_ptr<arrow::Table>> rows = out.Finish();
  if (!rows.ok()) return rows.status();
  const std::string place = by_location ? "geographical_location_oid" : "bucket";
  PartitionValues values{{"date", DayText(cells.front().day)},
                         {place, std::to_string(cells.front().place)}};
  std::sort(values.begin(), values.end());
  return take(values, *rows.value());
}

Status ForEachIncrements(const TableSpec& spec, const RowContext& context,
                         std::span<const WriteBatch* const> batches, const TakeRows& take) {
  const bool by_location = spec.IsPartition("geographical_location_oid");
  std::vector<Cell> cells;
  for (const WriteBatch* batch : batches)
    for (const CountRow& row : batch->windows)
      cells.push_back({.day = DayOf(row.key.pane_start),
                       .place = by_location ? row.key.location.v : BucketOf(row.key.location),
                       .row = &row,
                       .batch = batch});
  std::sort(cells.begin(), cells.end(),
            [](const Cell& a, const Cell& b) { return a.order() < b.order(); });
  // The cells are sorted by partition value first, so each value is one contiguous range.
  for (auto first = cells.begin(); first != cells.end();) {
    const auto next = std::find_if(first, cells.end(), [&](const Cell& cell) {
      return cell.place != first->place || cell.day != first->day;
    });
    RETURN_IF_ERROR(TakeIncrements(spec, context, {first, next}, take));
    first = next;
  }
  return Status::Ok();
}

void WriteLedgerRow(const WriteBatch& batch, const LedgerRow& row, bool coverage, bool has_lost,
                    RowWriter& out) {
  out.Begin();
  WriteProvenance(batch, out);
  const bool known = row.key.known && !coverage;
  known ? out.Long(row.key.location.v) : out.Null();
  known ? out.Long(row.key.camera.v) : out.Null();
  coverage || row.key.hour == kNoAppendTime ? out.Null() : out.Time(row.key.hour.v);
  out.Long(row.ledger.received);
  for (const int64_t outcome : row.ledger.outcomes) out.Long(outcome);
  out.Long(row.ledger.conflicts);
  out.Long(row.ledger.heartbeats);
  if (has_lost) out.Long(row.ledger.lost);
  CHECK(has_lost || row.ledger.lost == 0);
  out.Truth(coverage);
}

// Each batch has one row that states which offsets it covers, even if nothing was received.
// Verify() finds missing offsets by these rows.
Status ForEachLedger(const TableSpec& spec, const RowContext& context,
                     std::span<const WriteBatch* const> batches, const TakeRows& take) {
  Result<RowWriter> out = RowWriter::Create(spec);
  if (!out.ok()) return out.status();
  for (const WriteBatch* batch : batches) {
    const bool has_lost = spec.Has("lost");
    WriteLedgerRow(*batch, {}, /*coverage=*/true, has_lost, out.value());
    for (const LedgerRow& row : batch->ledger)
      WriteLedgerRow(*batch, row, /*coverage=*/false, has_lost, out.value());
  }
  const Result<std::shared_ptr<arrow::Table>> rows = out.value().Finish();
  if (!rows.ok()) return rows.status();
  return take({{"date", DayText(context.today)}}, *rows.value());
}

}  // namespace

Status ForEachPartition(const TableSpec& spec, const RowContext& context,
                        std::span<const WriteBatch* const> batches, const TakeRows& take) {
  if (batches.empty()) return Status::Ok();
  return spec.name == kLedgerTable ? ForEachLedger(spec, context, batches, take)
                                   : ForEachIncrements(spec, context, batches, take);
}

Result<std::shared_ptr<arrow::Table>> LocationRows(const std::vector<Location>& locations) {
  Result<RowWriter> created = RowWriter::Create(LocationsSpec());
  if (!created.ok()) return created.status();
  RowWriter& out = created.value();
  for (const Location& location : locations) {
    out.Begin();
    out.Long(location.location.v);
    out.Text(location.name);
    location.latitude.has_value() ? out.Double(*location.latitude) : out.Null();
    location.longitude.has_value() ? out.Double(*location.longitude) : out.Null();
    out.TextOrNull(location.time_zone);
    location.parent.has_value() ? out.Long(location.parent->v) : out.Null();
  }
  return out.Finish();
}

}  // namespace sightline::lake
