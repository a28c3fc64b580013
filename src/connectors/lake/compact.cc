#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/log.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/tables.h"

namespace sightline::lake {
namespace {

// How many partition values one commit rewrites. It bounds the work that is lost when another
// writer has taken one of them.
constexpr size_t kPartitionsPerCommit = 32;
constexpr int64_t kAttempts = 20;

struct PartitionFiles {
  PartitionValues values;
  std::vector<FilePtr> files;
};

std::string ValueOf(const PartitionValues& values, std::string_view column) {
  for (const PartitionValue& value : values)
    if (value.column == column) return value.value.value_or("");
  return {};
}

// Splits a partition's files, in order, into packs of up to rows_max rows. A pack of a single file
// would gain nothing and is left out.
std::vector<std::vector<FilePtr>> Packs(const PartitionFiles& partition, int64_t rows_max) {
  std::vector<std::vector<FilePtr>> packs;
  int64_t rows = 0;
  for (const FilePtr& file : partition.files) {
    const int64_t more = std::max<int64_t>(RowsOf(*file), 0);
    if (packs.empty() || rows + more > rows_max) {
      packs.emplace_back();
      rows = 0;
    }
    rows += more;
    packs.back().push_back(file);
  }
  std::erase_if(packs, [](const std::vector<FilePtr>& pack) { return pack.size() < 2; });
  return packs;
}

// Chooses the partitions with more files than they need, among the days that are over.
std::vector<PartitionFiles> Choose(const Snapshot& snapshot, const TableSpec& spec,
                                   const std::string& today, const CompactOptions& options) {
  std::map<PartitionValues, std::vector<FilePtr>> by_partition;
  snapshot.files.ForEach([&](const FilePtr& file) {
    if (MayHaveForeignValues(spec, *file)) return;
    const bool is_over = ValueOf(file->partition_values, "date") < today;
    if (is_over || options.all_days) by_partition[file->partition_values].push_back(file);
  });
  std::vector<PartitionFiles> partitions;
  for (auto& [values, files] : by_partition) {
    PartitionFiles partition{values, std::move(files)};
    if (!Packs(partition, options.rows_max).empty()) partitions.push_back(std::move(partition));
  }
  return partitions;
}

Result<AddFile> WritePack(Storage& storage, const Clock& clock, const TableSpec& spec,
                          const PartitionValues& partition, const std::vector<FilePtr>& pack) {
  std::vector<std::shared_ptr<arrow::Table>> tables;
  for (const FilePtr& file : pack) {
    auto rows = ReadDataFile(storage, spec, *file);
    if (!rows.ok()) return rows.status();
    tables.push_back(std::move(rows).value());
  }
  auto joined = arrow::ConcatenateTables(tables);
  if (!joined.ok()) return Status::Retry(joined.status().message());
  tables.clear();
  const auto sorted = Sorted(spec, std::move(joined).ValueUnsafe());
  if (!sorted.ok()) return sorted.status();
  return WriteDataFile(storage, clock, spec, partition, *sorted.value());
}

struct Written {
  std::vector<AddFile> adds;
  std::vector<FilePtr> removes;
};

// Writes the new files of some partitions. If one fails, none is left behind.
Status WritePartitions(Storage& storage, const Clock& clock, const TableSpec& spec,
                       int64_t rows_max, std::span<const PartitionFiles> partitions,
                       Written& written) {
  for (const PartitionFiles& partition : partitions)
    for (const std::vector<FilePtr>& pack : Packs(partition, rows_max)) {
      Result<AddFile> file = WritePack(storage, clock, spec, partition.values, pack);
      if (!file.ok()) {
        DeleteUncommitted(storage, spec, written.adds);
        return file.status();
      }
      written.adds.push_back(std::move(file).value());
      written.removes.insert(written.removes.end(), pack.begin(), pack.end());
    }
  return Status::Ok();
}

void CountPartitions(std::span<const PartitionFiles> partitions, const Written& written,
                     CompactResult& result) {
  result.partitions += static_cast<int64_t>(partitions.size());
  for (const PartitionFiles& partition : partitions) {
    result.files_before += static_cast<int64_t>(partition.files.size());
    result.files_after += static_cast<int64_t>(partition.files.size());
    for (const FilePtr& file : partition.files) {
      result.bytes_before += file->size_bytes;
      result.bytes_after += file->size_bytes;
    }
  }
  for (const FilePtr& file : written.removes) result.bytes_after -= file->size_bytes;
  for (const AddFile& file : written.adds) result.bytes_after += file.size_bytes;
  result.files_after +=
      static_cast<int64_t>(written.adds.size()) - static_cast<int64_t>(written.removes.size());
}

CompactResult DryRun(const std::vector<PartitionFiles>& partitions, int64_t rows_max) {
  CompactResult result;
  CountPartitions(partitions, {}, result);
  for (const PartitionFiles& partition : partitions)
    for (const auto& pack : Packs(partition, rows_max))
      result.files_after -= static_cast<int64_t>(pack.size()) - 1;
  result.bytes_after = 0;
  return result;
}

}  // namespace

Result<CompactResult> Compact(Storage& storage, const Clock& clock, std::string_view table,
                              const CompactOptions& options) {
  CompactResult result;
  const std::string today = DayText(DayOf({clock.NowMs()}));
  Result<SnapshotPtr> read = ReadSnapshot(storage, table);
  if (!read.ok()) return read.status();
  SnapshotPtr snapshot = std::move(read).value();
  Result<TableSpec> spec = SpecOf(table, *snapshot);
  if (!spec.ok()) return spec.status();
  std::vector<PartitionFiles> partitions = Choose(*snapshot, spec.value(), today, options);
  if (options.dry_run) return DryRun(partitions, options.rows_max);
  const auto total = static_cast<int64_t>(partitions.size());
  for (size_t done = 0; done < partitions.size();) {
    const size_t next = std::min(done + kPartitionsPerCommit, partitions.size());
    const std::span<const PartitionFiles> part = std::span(partitions).subspan(done, next - done);
    Written written;
    Status status = WritePartitions(storage, clock, spec.value(), options.rows_max, part, written);
    if (status.ok()) {
      CommitResult commit =
          CommitChange(storage, clock, table, snapshot, [&](const Snapshot& now) -> Result<Change> {
            RETURN_IF_ERROR(CheckStillThere(now, written.removes));
            return Change{.operation = "OPTIMIZE",
                          .adds = written.adds,
                          .removes = written.removes,
                          .data_change = false};
          });
      status = commit.status;
      snapshot = commit.snapshot;
      // If the outcome is unknown, the files may be in the table, so they stay. Vacuum removes them
      // if they are not.
      if (!status.ok() && commit.known) DeleteUncommitted(storage, spec.value(), written.adds);
      if (!status.ok() && !commit.known) return status;
    }
    if (status.ok()) {
      CountPartitions(part, written, result);
      done = next;
      if (options.progress && !options.progress(static_cast<int64_t>(done), total))
        return Status::Retry("stopped before it was finished");
      continue;
    }
    // If another compactor has taken a file, that is not an error: choose again from what is there
    // now.
    Result<SnapshotPtr> refreshed = Refresh(storage, table, snapshot);
    if (!refreshed.ok()) return refreshed.status();
    snapshot = std::move(refreshed).value();
    // Only a file that has gone from the table is a reason to choose again. Any other failure is
    // returned.
    const bool overtaken =
        !CheckStillThere(*snapshot,
                         [&] {
                           std::vector<FilePtr> all;
                           for (const PartitionFiles& partition : part)
                             all.insert(all.end(), partition.files.begin(), partition.files.end());
                           return all;
                         }())
             .ok();
    if (!overtaken || ++result.retries > kAttempts) return status;
    // The writer may have changed the layout.
    spec = SpecOf(table, *snapshot);
    if (!spec.ok()) return spec.status();
    partitions = Choose(*snapshot, spec.value(), today, options);
    done = 0;
  }
  return result;
}

}  // namespace sightline::lake
