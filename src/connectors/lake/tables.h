// The tables of the lake: their columns, their division into files, and their creation.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/lake/known_tables.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"
#include "model/types.h"

namespace sightline::lake {

constexpr std::string_view kIncrementsTable = "item_count_increments";
constexpr std::string_view kLedgerTable = "ledger";
constexpr std::string_view kLocationsTable = "locations";

// Type names are Delta's: long, integer, double, string, boolean, date, timestamp.
struct Column {
  std::string name;
  std::string type;
  bool nullable = true;
  friend bool operator==(const Column&, const Column&) = default;
};

struct TableSpec {
  std::string name;
  std::vector<Column> columns;
  std::vector<std::string> partition_columns;
  std::vector<std::string> sort_columns;  // the order of rows in a file
  // Columns that others have added. Our rows have null in them, and our reader leaves them out.
  std::vector<std::string> foreign_columns;

  bool Has(std::string_view column) const;
  bool IsPartition(std::string_view column) const;
  std::vector<Column> file_columns() const;  // the columns without the partition columns
};

// How item_count_increments is divided: a directory for each location and day; or, once it has many
// locations, for each day and each bucket of locations (layout.h, model/location.h).
enum class Layout : uint8_t { kByLocation, kByBucket };
constexpr int64_t kMaxPartitions = 200;  // locations; above this, kByBucket
// The layout that the table has in a snapshot.
Layout LayoutOf(const Snapshot& snapshot);

TableSpec IncrementsSpec(Layout layout);
TableSpec LedgerSpec();     // partitioned by `date`, the UTC day on which a row was written
TableSpec LocationsSpec();  // not partitioned

// A column as the table has it, whoever has added it.
struct TableColumn : Column {
  std::string comment;
};
constexpr std::string_view kNestedType = "nested";  // stands for every composite type
// In the order of the table. kStop if the schema cannot be read.
Result<std::vector<TableColumn>> ColumnsOf(std::string_view table, const Snapshot& snapshot);

// A tag of every data file that Sightline wrote; other engines do not copy it.
constexpr char kContentHashTag[] = "sightline.contentHash";

// The spec of the table in a snapshot. kStop, saying what and why, if a column of ours is missing
// or has another type, if a column must not be null, or if the partition columns are not ours.
Result<TableSpec> SpecOf(std::string_view table, const Snapshot& snapshot);

// Columns that tables and files of earlier programs lack; there they read as null. A table gets
// them with the first row that needs them, so that programs that do not know them can write beside
// ours until then.
constexpr std::string_view kAddedColumns[] = {"lost"};  // of the ledger
// Adds the columns of `spec` that the table lacks. Returns its newest snapshot.
Result<SnapshotPtr> AddColumns(Storage& storage, const Clock& clock, SnapshotPtr snapshot,
                               const TableSpec& spec);
// True if rows that were made for an earlier schema fit into this one: it has the same columns, and
// beside them at most some that may be null.
bool HoldsRowsOf(const std::string& schema_json, const std::string& earlier);

// Metadata with the columns and the partition columns of a spec. Columns that others have added
// stay.
Metadata WithSpec(Metadata metadata, const TableSpec& spec);

// Opens the table, and creates it if needed. Returns its newest snapshot. `known` is asked before a
// table is created or used, and remembers it; it may be null.
Result<SnapshotPtr> OpenOrCreate(Storage& storage, const Clock& clock, const TableSpec& spec,
                                 KnownTables* known = nullptr);

// Days and times as text. A day is "2026-11-22", in years 0001 to 9999.
Day DayOf(EventTime time);
std::string DayText(Day day);
Result<Day> ParseDay(std::string_view text);
// "2026-11-22T10:20:30.123Z"
std::string TimeText(int64_t ms);

// The table property with this prefix and a source names the engine that writes the source.
constexpr std::string_view kEnginePrefix = "sightline.engine/";

// The application ids of the txn actions.
std::string OffsetTxn(std::string_view table, const SourcePartition& partition);
std::string OwnerTxn(std::string_view table, const SourcePartition& partition);
// The source partition of an OffsetTxn of this table; nothing for other ids.
std::optional<SourcePartition> ParseOffsetTxn(std::string_view table, std::string_view app);

}  // namespace sightline::lake
