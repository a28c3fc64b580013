#include "connectors/lake/layout.h"

#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/tables.h"
#include "connectors/storage/at_once.h"
#include "model/location.h"

namespace sightline::lake {
namespace {

constexpr int64_t kRowsMax = 2'000'000;  // per new file: bounds what is held in memory
constexpr int kAttempts = 20;            // each follows a commit of another writer
constexpr char kLocation[] = "geographical_location_oid";

// The location and the day of a file's partition.
struct Partition {
  LocationId location;
  std::string date;
};

std::optional<Partition> PartitionOf(const AddFile& file) {
  Partition partition;
  bool located = false;
  for (const PartitionValue& value : file.partition_values) {
    if (!value.value.has_value()) return std::nullopt;
    const char* end = value.value->data() + value.value->size();
    if (value.column == kLocation)
      located = std::from_chars(value.value->data(), end, partition.location.v).ptr == end;
    if (value.column == "date") partition.date = *value.value;
  }
  return located && !partition.date.empty() ? std::optional(partition) : std::nullopt;
}

bool HasBuckets(const Snapshot& snapshot) { return LayoutOf(snapshot) == Layout::kByBucket; }

// Gives rows, which are those of one location, the column of the location.
arrow::Result<std::shared_ptr<arrow::Table>> WithLocation(const arrow::Table& rows,
                                                          LocationId location,
                                                          const TableSpec& to) {
  const auto schema = FileSchema(to);
  std::vector<std::shared_ptr<arrow::ChunkedArray>> columns;
  for (const auto& field : schema->fields()) {
    auto column = rows.GetColumnByName(field->name());
    if (column == nullptr) {
      ARROW_ASSIGN_OR_RAISE(
          auto same, arrow::MakeArrayFromScalar(arrow::Int64Scalar(location.v), rows.num_rows()));
      column = std::make_shared<arrow::ChunkedArray>(std::move(same));
    }
    columns.push_back(std::move(column));
  }
  return arrow::Table::Make(schema, std::move(columns), rows.num_rows());
}

class Conversion {
 public:
  Conversion(Storage& storage, const Clock& clock, const std::function<Status()>& go_on)
      : storage_(storage), clock_(clock), go_on_(go_on) {}

  // Writes what it lacks to replace the files of `now`, and forgets what is no longer there.
  Status Follow(const Snapshot& now);
  // True if it replaces exactly the files of `now`.
  bool Covers(const Snapshot& now) const;
  Change Plan(const Snapshot& now) const;
  void DeleteAll() {
    for (const Pack& pack : packs_) DeleteUncommitted(storage_, to_, {pack.add});
  }
  size_t files() const { return packs_.size(); }

 private:
  // A new file, and those that it replaces.
  struct Pack {
    AddFile add;
    std::vector<FilePtr> sources;
  };
  using Group = std::pair<std::string, int64_t>;  // day, bucket

  Status Write(const Group& group, std::vector<FilePtr> sources);
  Result<std::shared_ptr<arrow::Table>> Read(const std::vector<FilePtr>& sources) const;

  Storage& storage_;
  const Clock& clock_;
  const std::function<Status()>& go_on_;
  const TableSpec from_ = IncrementsSpec(Layout::kByLocation);
  const TableSpec to_ = IncrementsSpec(Layout::kByBucket);
  std::vector<Pack> packs_;
};

bool Conversion::Covers(const Snapshot& now) const {
  size_t files = 0;
  for (const Pack& pack : packs_) {
    if (!CheckStillThere(now, pack.sources).ok()) return false;
    files += pack.sources.size();
  }
  return files == now.files.size();
}

Change Conversion::Plan(const Snapshot& now) const {
  Change change{
      .operation = "CHANGE LAYOUT", .data_change = false, .metadata = WithSpec(*now.metadata, to_)};
  for (const Pack& pack : packs_) {
    change.adds.push_back(pack.add);
    change.removes.insert(change.removes.end(), pack.sources.begin(), pack.sources.end());
  }
  return change;
}

Status Conversion::Follow(const Snapshot& now) {
  std::set<std::string> have;
  std::erase_if(packs_, [&](const Pack& pack) {
    const bool gone = !CheckStillThere(now, pack.sources).ok();
    if (gone) DeleteUncommitted(storage_, to_, {pack.add});
    if (!gone)
      for (const FilePtr& source : pack.sources) have.insert(source->path);
    return gone;
  });
  std::map<Group, std::vector<FilePtr>> groups;
  const Result<TableSpec> from = SpecOf(from_.name, now);
  Status status = from.status();
  now.files.ForEach([&](const FilePtr& file) {
    if (have.contains(file->path)) return;
    if (status.ok() && MayHaveForeignValues(from.value(), *file))
      status = Status::Stop(fmt::format(
          "table '{}' has too many locations for its layout, and '{}' has values in columns that "
          "another program has added, which a new layout would lose; set lake.max_partitions to "
          "more locations, or delete these columns there",
          from_.name, file->path));
    const std::optional<Partition> partition = PartitionOf(*file);
    if (partition)
      groups[{partition->date, BucketOf(partition->location)}].push_back(file);
    else
      status = Status::Stop(
          fmt::format("file '{}' of table '{}' names no location and day", file->path, from_.name));
  });
  RETURN_IF_ERROR(status);
  for (auto& [group, files] : groups) {
    std::vector<FilePtr> sources;
    int64_t rows = 0;
    for (FilePtr& file : files) {
      const int64_t more = std::max<int64_t>(RowsOf(*file), 0);
      if (!sources.empty() && rows + more > kRowsMax)
        RETURN_IF_ERROR(Write(group, std::exchange(sources, {})));
      rows = sources.empty() ? more : rows + more;
      sources.push_back(std::move(file));
    }
    RETURN_IF_ERROR(Write(group, std::move(sources)));
  }
  return Status::Ok();
}

Result<std::shared_ptr<arrow::Table>> Conversion::Read(const std::vector<FilePtr>& sources) const {
  std::vector<std::shared_ptr<arrow::Table>> tables(sources.size());
  RETURN_IF_ERROR(ForEachAtOnce(sources.size(), kReadsAtOnce, [&](size_t i) -> Status {
    RETURN_IF_ERROR(go_on_());
    const auto rows = ReadDataFile(storage_, from_, *sources[i]);
    if (!rows.ok()) return rows.status();
    auto located = WithLocation(*rows.value(), PartitionOf(*sources[i])->location, to_);
    if (!located.ok()) return Status::Retry(located.status().message());
    tables[i] = std::move(located).ValueUnsafe();
    return Status::Ok();
  }));
  auto joined = arrow::ConcatenateTables(tables);
  if (!joined.ok()) return Status::Retry(joined.status().message());
  tables.clear();
  return Sorted(to_, std::move(joined).ValueUnsafe());
}

Status Conversion::Write(const Group& group, std::vector<FilePtr> sources) {
  const auto rows = Read(sources);
  if (!rows.ok()) return rows.status();
  const PartitionValues values{{"bucket", std::to_string(group.second)}, {"date", group.first}};
  Result<AddFile> file = WriteDataFile(storage_, clock_, to_, values, *rows.value());
  if (!file.ok()) return file.status();
  packs_.push_back({std::move(file).value(), std::move(sources)});
  return Status::Ok();
}

}  // namespace

std::set<LocationId> LocationsOf(const Snapshot& snapshot) {
  std::set<LocationId> locations;
  snapshot.files.ForEach([&](const FilePtr& file) {
    if (const auto partition = PartitionOf(*file)) locations.insert(partition->location);
  });
  return locations;
}

Result<SnapshotPtr> ConvertToBuckets(Storage& storage, const Clock& clock, SnapshotPtr from,
                                     const std::function<Status()>& go_on) {
  Conversion conversion(storage, clock, go_on);
  Status status = Status::Ok();
  for (int attempt = 0; attempt < kAttempts && !HasBuckets(*from); ++attempt) {
    status = conversion.Follow(*from);
    if (status.ok()) status = go_on();
    if (!status.ok()) break;
    CommitResult done = CommitChange(storage, clock, kIncrementsTable, from,
                                     [&](const Snapshot& now) -> Result<Change> {
                                       if (!conversion.Covers(now))
                                         return Status::Retry("the table has other files by now");
                                       return conversion.Plan(now);
                                     });
    if (done.status.ok()) {
      if (conversion.files() > 0)
        LogInfo(
            fmt::format("table '{}' of the lake has many locations, so it is divided by day and "
                        "bucket from now "
                        "on: {} files became {}",
                        kIncrementsTable, from->files.size(), conversion.files()));
      return done.snapshot;
    }
    // The files of an unknown outcome may be in the table.
    if (!done.known) return done.status;
    status = done.status;
    from = done.snapshot;
    if (!HasBuckets(*from) && conversion.Covers(*from)) break;  // no other writer is the reason
  }
  conversion.DeleteAll();
  if (HasBuckets(*from)) return from;
  return status;
}

}  // namespace sightline::lake
