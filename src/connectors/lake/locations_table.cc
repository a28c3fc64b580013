#include "connectors/lake/locations_table.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/log.h"
#include "connectors/lake/rows.h"

namespace sightline::lake {
namespace {

bool ByLocation(const Location& a, const Location& b) { return a.location < b.location; }

std::vector<FilePtr> FilesOf(const Snapshot& snapshot) {
  std::vector<FilePtr> files;
  snapshot.files.ForEach([&](const FilePtr& file) { files.push_back(file); });
  return files;
}

void AppendRows(const arrow::Table& table, std::vector<Location>& locations) {
  const auto batch = table.CombineChunksToBatch().ValueOrDie();
  const auto longs = [&](int i) {
    return std::static_pointer_cast<arrow::Int64Array>(batch->column(i));
  };
  const auto texts = [&](int i) {
    return std::static_pointer_cast<arrow::StringArray>(batch->column(i));
  };
  const auto doubles = [&](int i) {
    return std::static_pointer_cast<arrow::DoubleArray>(batch->column(i));
  };
  const auto number = [](const arrow::DoubleArray& array, int64_t row) {
    return array.IsNull(row) ? std::nullopt : std::optional<double>(array.Value(row));
  };
  const auto oid = longs(0), parent = longs(5);
  const auto name = texts(1), zone = texts(4);
  const auto latitude = doubles(2), longitude = doubles(3);
  for (int64_t row = 0; row < batch->num_rows(); ++row) {
    Location location{.location = {oid->Value(row)},
                      .name = name->GetString(row),
                      .latitude = number(*latitude, row),
                      .longitude = number(*longitude, row),
                      .time_zone = zone->IsNull(row) ? "" : zone->GetString(row)};
    if (parent->IsValid(row)) location.parent = LocationId{parent->Value(row)};
    locations.push_back(std::move(location));
  }
}

Result<std::vector<Location>> ReadRows(Storage& storage, const TableSpec& spec,
                                       const Snapshot& snapshot) {
  std::vector<Location> locations;
  for (const FilePtr& file : FilesOf(snapshot)) {
    const auto rows = ReadDataFile(storage, spec, *file);
    if (!rows.ok()) return rows.status();
    AppendRows(*rows.value(), locations);
  }
  std::sort(locations.begin(), locations.end(), ByLocation);
  return locations;
}

}  // namespace

Result<std::vector<Location>> ReadLocationsTable(Storage& storage) {
  const Result<SnapshotPtr> snapshot = ReadSnapshot(storage, kLocationsTable);
  if (!snapshot.ok()) return snapshot.status();
  if (snapshot.value()->version == kNoVersion) return std::vector<Location>();
  const Result<TableSpec> spec = SpecOf(kLocationsTable, *snapshot.value());
  if (!spec.ok()) return spec.status();
  return ReadRows(storage, spec.value(), *snapshot.value());
}

Result<bool> WriteLocations(Storage& storage, const Clock& clock, std::vector<Location> locations,
                            KnownTables* known) {
  std::sort(locations.begin(), locations.end(), ByLocation);
  const Result<SnapshotPtr> snapshot = OpenOrCreate(storage, clock, LocationsSpec(), known);
  if (!snapshot.ok()) return snapshot.status();
  const Result<TableSpec> spec = SpecOf(kLocationsTable, *snapshot.value());
  if (!spec.ok()) return spec.status();
  const Result<std::vector<Location>> there = ReadRows(storage, spec.value(), *snapshot.value());
  if (!there.ok()) return there.status();
  // Most refreshes change nothing. Without this check each would add a commit.
  if (there.value() == locations) return false;

  std::vector<AddFile> adds;
  if (!locations.empty()) {
    const auto rows = LocationRows(locations);
    if (!rows.ok()) return rows.status();
    Result<AddFile> file = WriteDataFile(storage, clock, spec.value(), {}, *rows.value());
    if (!file.ok()) return file.status();
    adds.push_back(std::move(file).value());
  }
  // The last one to overwrite wins, so everything that is there by then is removed.
  const auto overwrite = [&](const Snapshot& now) -> Result<Change> {
    return Change{.operation = "WRITE", .adds = adds, .removes = FilesOf(now)};
  };
  const CommitResult result =
      CommitChange(storage, clock, kLocationsTable, snapshot.value(), overwrite);
  if (result.status.ok()) return true;
  if (result.known) DeleteUncommitted(storage, spec.value(), adds);
  return result.status;
}

}  // namespace sightline::lake
