#include "query/lake_rows.h"

namespace sightline {

const std::vector<ScanColumn> kCountColumns = {
    {"geographical_location_oid", DUCKDB_TYPE_BIGINT},
    {"date", DUCKDB_TYPE_DATE},
    {"geographical_location", DUCKDB_TYPE_VARCHAR},
    {"item_name", DUCKDB_TYPE_VARCHAR},
    {"window_start", DUCKDB_TYPE_TIMESTAMP_TZ},
    {"window_end", DUCKDB_TYPE_TIMESTAMP_TZ},
    {"item_count", DUCKDB_TYPE_BIGINT},
    {"first_detected", DUCKDB_TYPE_TIMESTAMP_TZ},
    {"last_detected", DUCKDB_TYPE_TIMESTAMP_TZ},
    {"kind", DUCKDB_TYPE_VARCHAR},
    {"engine", DUCKDB_TYPE_VARCHAR},
    {"source", DUCKDB_TYPE_VARCHAR},
    {"source_partition", DUCKDB_TYPE_INTEGER},
    {"first_offset", DUCKDB_TYPE_BIGINT},
    {"next_offset", DUCKDB_TYPE_BIGINT},
};
const std::vector<ScanColumn> kLedgerColumns = {
    {"source", DUCKDB_TYPE_VARCHAR},
    {"source_partition", DUCKDB_TYPE_INTEGER},
    {"first_offset", DUCKDB_TYPE_BIGINT},
    {"next_offset", DUCKDB_TYPE_BIGINT},
    {"geographical_location_oid", DUCKDB_TYPE_BIGINT},
    {"video_camera_oid", DUCKDB_TYPE_BIGINT},
    {"append_hour", DUCKDB_TYPE_TIMESTAMP_TZ},
    {"received", DUCKDB_TYPE_BIGINT},
    {"counted", DUCKDB_TYPE_BIGINT},
    {"duplicate", DUCKDB_TYPE_BIGINT},
    {"too_late", DUCKDB_TYPE_BIGINT},
    {"future", DUCKDB_TYPE_BIGINT},
    {"malformed", DUCKDB_TYPE_BIGINT},
    {"outside", DUCKDB_TYPE_BIGINT},
    {"conflicts", DUCKDB_TYPE_BIGINT},
    {"heartbeats", DUCKDB_TYPE_BIGINT},
    {"lost", DUCKDB_TYPE_BIGINT},
};
const std::vector<ScanColumn> kLocationColumns = {
    {"geographical_location_oid", DUCKDB_TYPE_BIGINT},
    {"geographical_location", DUCKDB_TYPE_VARCHAR},
    {"latitude", DUCKDB_TYPE_DOUBLE},
    {"longitude", DUCKDB_TYPE_DOUBLE},
    {"time_zone", DUCKDB_TYPE_VARCHAR},
    {"parent", DUCKDB_TYPE_BIGINT},
};

namespace {

int64_t Micros(int64_t ms) { return ms * 1000; }

ScanCell CountCell(const CountIncrement& row, size_t column) {
  switch (column) {
    case 0:
      return row.location.v;
    case 1:
      return DayOf(row.window.start).v;
    case 3:
      return std::string_view(row.item);
    case 4:
      return Micros(row.window.start.v);
    case 5:
      return Micros(row.window.end.v);
    case 6:
      return row.count;
    case 7:
      return Micros(row.first_detected.v);
    case 8:
      return Micros(row.last_detected.v);
    case 9:
      return std::string_view(row.kind == CountKind::kCount ? "count" : "correction");
    case 10:
      return std::string_view("sightline");
    case 11:
      return std::string_view(row.source.source);
    case 12:
      return int64_t{row.source.partition};
    case 13:
      return row.first.v;
    case 14:
      return row.next.v;
    default:
      return {};  // geographical_location: unknown here; item_counts joins the current name
  }
}

ScanCell LedgerCell(const LedgerIncrement& row, size_t column) {
  const LedgerKey& key = row.row.key;
  const Ledger& ledger = row.row.ledger;
  switch (column) {
    case 0:
      return std::string_view(row.source.source);
    case 1:
      return int64_t{row.source.partition};
    case 2:
      return row.first.v;
    case 3:
      return row.next.v;
    case 4:
      return key.known ? ScanCell(key.location.v) : ScanCell();
    case 5:
      return key.known ? ScanCell(key.camera.v) : ScanCell();
    case 6:
      return key.hour == kNoAppendTime ? ScanCell() : ScanCell(Micros(key.hour.v));
    case 7:
      return ledger.received;
    case 14:
      return ledger.conflicts;
    case 15:
      return ledger.heartbeats;
    case 16:
      return ledger.lost;
    default:
      return ledger.outcomes[column - 8];
  }
}

ScanCell LocationCell(const Location& row, size_t column) {
  switch (column) {
    case 0:
      return row.location.v;
    case 1:
      return std::string_view(row.name);
    case 2:
      return row.latitude ? ScanCell(*row.latitude) : ScanCell();
    case 3:
      return row.longitude ? ScanCell(*row.longitude) : ScanCell();
    case 4:
      return row.time_zone.empty() ? ScanCell() : ScanCell(std::string_view(row.time_zone));
    default:
      return row.parent ? ScanCell(row.parent->v) : ScanCell();
  }
}

using Parts = std::vector<std::shared_ptr<const PendingPart>>;
template <typename RowType>
using ReadPart = Result<std::vector<RowType>> (PendingPart::*)() const;

// First the rows in memory, then those of each part. It holds one part in memory at a time.
template <typename RowType>
class VectorCursor final : public RowCursor {
 public:
  using CellOf = ScanCell (*)(const RowType&, size_t);
  VectorCursor(std::shared_ptr<const std::vector<RowType>> rows, Parts parts,
               ReadPart<RowType> read, const Scope& scope, CellOf cell)
      : rows_(std::move(rows)), parts_(std::move(parts)), read_(read), scope_(scope), cell_(cell) {}
  Result<bool> Next() override {
    for (;;) {
      while (rows_ != nullptr && next_ < rows_->size()) {
        if (Sees(scope_, (*rows_)[next_++])) return true;
      }
      if (part_ == parts_.size()) return false;
      rows_.reset();
      Result<std::vector<RowType>> read = ((*parts_[part_++]).*read_)();
      if (!read.ok()) return read.status();
      rows_ = std::make_shared<const std::vector<RowType>>(std::move(read).value());
      next_ = 0;
    }
  }
  ScanCell Cell(size_t column) const override { return cell_((*rows_)[next_ - 1], column); }

 private:
  std::shared_ptr<const std::vector<RowType>> rows_;
  const Parts parts_;
  const ReadPart<RowType> read_;
  const Scope scope_;
  const CellOf cell_;
  size_t next_ = 0;
  size_t part_ = 0;
};

template <typename RowType>
RowSource Source(const std::vector<ScanColumn>& columns,
                 std::shared_ptr<const std::vector<RowType>> rows, Parts parts,
                 ReadPart<RowType> read, Scope scope, ScanCell (*cell)(const RowType&, size_t)) {
  return {columns,
          [rows = std::move(rows), parts = std::move(parts), read, scope = std::move(scope), cell] {
            return std::make_unique<VectorCursor<RowType>>(rows, parts, read, scope, cell);
          }};
}

}  // namespace

RowSource PendingCounts(const LakeState& state, Scope scope) {
  return Source(kCountColumns, state.pending_counts, state.pending_parts, &PendingPart::Counts,
                std::move(scope), CountCell);
}
RowSource PendingLedger(const LakeState& state, Scope scope) {
  return Source(kLedgerColumns, state.pending_ledger, state.pending_parts, &PendingPart::Ledger,
                std::move(scope), LedgerCell);
}
RowSource LocationRows(const LakeState& state, Scope scope) {
  return Source<Location>(kLocationColumns, state.locations, {}, nullptr, std::move(scope),
                          LocationCell);
}

}  // namespace sightline
