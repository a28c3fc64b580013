// The tables of the lake: their columns, how they are cut into files, and how one is made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"
#include "model/types.h"

namespace sightline::lake {

constexpr std::string_view kIncrementsTable = "item_count_increments";
constexpr std::string_view kLedgerTable = "ledger";
constexpr std::string_view kLocationsTable = "locations";

// Names of types as Delta has them: long, integer, double, string, boolean, date, timestamp.
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
  std::vector<std::string> sort_columns;  // inside a file

  bool Has(std::string_view column) const;
  bool IsPartition(std::string_view column) const;
  std::vector<Column> file_columns() const;  // without the partition columns
};

// How item_count_increments is cut, decided when it is made: a directory for each location and day,
// or, for many locations, for each day and one of kBuckets buckets of the location.
enum class Layout : uint8_t { kByLocation, kByBucket };
constexpr int64_t kBuckets = 16;
constexpr int64_t kMaxPartitions = 200;  // locations; above: kByBucket
int64_t BucketOf(LocationId location);

TableSpec IncrementsSpec(Layout layout);
TableSpec LedgerSpec();     // partitioned by `date`: the UTC day on which the row was written
TableSpec LocationsSpec();  // not partitioned

// The spec of the table that a snapshot shows; kStop if its columns or partition columns are not
// ours, saying which.
Result<TableSpec> SpecOf(std::string_view table, const Snapshot& snapshot);

// Columns that tables and files of earlier programs do not have: there they are null. A table gets
// them with the first row that needs them, so that programs that do not know them can write beside
// ours until then.
constexpr std::string_view kAddedColumns[] = {"lost"};  // of the ledger
// Gives the table those of `spec` that it lacks; its newest snapshot.
Result<SnapshotPtr> AddColumns(Storage& storage, const Clock& clock, SnapshotPtr snapshot,
                               const TableSpec& spec);
// Two schemas that differ in no more than them.
bool SameColumns(const std::string& schema_json, const std::string& other);

// Makes the table unless it is there; its newest snapshot.
Result<SnapshotPtr> OpenOrCreate(Storage& storage, const Clock& clock, const TableSpec& spec);

// Days and times as text. Day: "2026-11-22", years 0001 to 9999.
Day DayOf(EventTime time);
std::string DayText(Day day);
Result<Day> ParseDay(std::string_view text);
// "2026-11-22T10:20:30.123Z"
std::string TimeText(int64_t ms);

// The application ids of the txn actions.
std::string OffsetTxn(std::string_view table, const SourcePartition& partition);
std::string OwnerTxn(std::string_view table, const SourcePartition& partition);
// Of an OffsetTxn of this table; nothing for other ids.
std::optional<SourcePartition> ParseOffsetTxn(std::string_view table, std::string_view app);

}  // namespace sightline::lake
