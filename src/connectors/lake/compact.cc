#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <span>
#include <utility>

#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/log.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/tables.h"
#include "connectors/storage/at_once.h"

namespace sightline::lake {
namespace {

// How many partition values one commit rewrites. It bounds the work that is lost when another
// writer has taken one of them.
constexpr size_t kPartitionsPerCommit = 32;
constexpr int64_t kAttempts = 20;
constexpr char kOptimize[] = "OPTIMIZE";  // as other engines name it, too

using Files = std::vector<FilePtr>;

struct Partition {
  PartitionValues values;
  Files files;
  std::vector<Files> packs;  // those of the files that become one, each
};

std::string ValueOf(const PartitionValues& values, std::string_view column) {
  for (const PartitionValue& value : values)
    if (value.column == column) return value.value.value_or("");
  return {};
}

// Splits files, in order, into packs of up to rows_max rows. A pack of a single file would gain
// nothing and is left out.
std::vector<Files> Packs(const Files& files, int64_t rows_max) {
  std::vector<Files> packs;
  int64_t rows = 0;
  for (const FilePtr& file : files) {
    const int64_t more = std::max<int64_t>(RowsOf(*file), 0);
    if (packs.empty() || rows + more > rows_max) {
      packs.emplace_back();
      rows = 0;
    }
    rows += more;
    packs.back().push_back(file);
  }
  std::erase_if(packs, [](const Files& pack) { return pack.size() < 2; });
  return packs;
}

// A day that is not over gets more files: packing all of it each time would write its first rows
// again and again. Only files of about the same size are packed, as soon as they are many.
std::vector<Files> OpenDayPacks(const Files& files, int64_t rows_max) {
  std::map<int, Files> by_size;
  for (const FilePtr& file : files) {
    int size = 0;
    for (int64_t rows = RowsOf(*file); rows >= kOpenDayFiles; rows /= kOpenDayFiles) ++size;
    by_size[size].push_back(file);
  }
  std::vector<Files> all;
  for (const auto& [size, alike] : by_size) {
    if (std::ssize(alike) < kOpenDayFiles) continue;
    std::vector<Files> packs = Packs(alike, rows_max);
    std::ranges::move(packs, std::back_inserter(all));
  }
  return all;
}

// Chooses the partitions with more files than they need.
std::vector<Partition> Choose(const Snapshot& snapshot, const TableSpec& spec,
                              const std::string& today, const CompactOptions& options) {
  std::map<PartitionValues, Files> by_partition;
  snapshot.files.ForEach([&](const FilePtr& file) {
    if (!MayHaveForeignValues(spec, *file)) by_partition[file->partition_values].push_back(file);
  });
  std::vector<Partition> partitions;
  for (auto& [values, files] : by_partition) {
    const bool is_over = options.all_days || ValueOf(values, "date") < today;
    std::vector<Files> packs =
        is_over ? Packs(files, options.rows_max) : OpenDayPacks(files, options.rows_max);
    if (!packs.empty()) partitions.push_back({values, std::move(files), std::move(packs)});
  }
  return partitions;
}

// Whether somebody, perhaps another engine, has packed the table less than `recent` ago. Commits
// have the storage's times. If this machine's clock is behind them, the newest of them is now.
Result<bool> IsOptimized(Storage& storage, const Clock& clock, std::string_view table,
                         Millis recent) {
  const Result<LogListing> log = ListLog(storage, table);
  if (!log.ok()) return log.status();
  const auto& commits = log.value().commits;
  if (commits.empty()) return false;
  const int64_t since_ms = std::max(clock.NowMs(), commits.back().file.modified_ms) - recent.v;
  for (auto entry = commits.rbegin(); entry != commits.rend() && entry->file.modified_ms > since_ms;
       ++entry) {
    const Result<Commit> commit = ReadCommit(storage, table, entry->version);
    if (!commit.ok()) return commit.status();
    if (commit.value().info.operation == kOptimize) return true;
  }
  return false;
}

Result<AddFile> WritePack(Storage& storage, const Clock& clock, const TableSpec& spec,
                          const PartitionValues& partition, const Files& pack) {
  std::vector<std::shared_ptr<arrow::Table>> tables(pack.size());
  RETURN_IF_ERROR(ForEachAtOnce(pack.size(), kReadsAtOnce, [&](size_t i) -> Status {
    auto rows = ReadDataFile(storage, spec, *pack[i]);
    if (!rows.ok()) return rows.status();
    tables[i] = std::move(rows).value();
    return Status::Ok();
  }));
  auto joined = arrow::ConcatenateTables(tables);
  if (!joined.ok()) return Status::Retry(joined.status().message());
  tables.clear();
  const auto sorted = Sorted(spec, std::move(joined).ValueUnsafe());
  if (!sorted.ok()) return sorted.status();
  return WriteDataFile(storage, clock, spec, partition, *sorted.value());
}

struct Written {
  std::vector<AddFile> adds;
  Files removes;
};

// Writes the new files of some partitions. If one fails, none is left behind.
Status WritePartitions(Storage& storage, const Clock& clock, const TableSpec& spec,
                       std::span<const Partition> partitions, Written& written) {
  for (const Partition& partition : partitions)
    for (const Files& pack : partition.packs) {
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

void CountPartitions(std::span<const Partition> partitions, const Written& written,
                     CompactResult& result) {
  result.partitions += static_cast<int64_t>(partitions.size());
  for (const Partition& partition : partitions) {
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

CompactResult DryRun(const std::vector<Partition>& partitions) {
  CompactResult result;
  CountPartitions(partitions, {}, result);
  for (const Partition& partition : partitions)
    for (const Files& pack : partition.packs)
      result.files_after -= static_cast<int64_t>(pack.size()) - 1;
  result.bytes_after = 0;
  return result;
}

}  // namespace

Result<CompactResult> Compact(Storage& storage, const Clock& clock, std::string_view table,
                              const CompactOptions& options) {
  CompactResult result;
  if (options.recent > Millis{0}) {
    const Result<bool> optimized = IsOptimized(storage, clock, table, options.recent);
    if (!optimized.ok()) return optimized.status();
    if (optimized.value()) return result;
  }
  const std::string today = DayText(DayOf({clock.NowMs()}));
  Result<SnapshotPtr> read = ReadSnapshot(storage, table);
  if (!read.ok()) return read.status();
  SnapshotPtr snapshot = std::move(read).value();
  Result<TableSpec> spec = SpecOf(table, *snapshot);
  if (!spec.ok()) return spec.status();
  std::vector<Partition> partitions = Choose(*snapshot, spec.value(), today, options);
  if (options.dry_run) return DryRun(partitions);
  const auto total = static_cast<int64_t>(partitions.size());
  for (size_t done = 0; done < partitions.size();) {
    const size_t next = std::min(done + kPartitionsPerCommit, partitions.size());
    const std::span<const Partition> part = std::span(partitions).subspan(done, next - done);
    Written written;
    Status status = WritePartitions(storage, clock, spec.value(), part, written);
    if (status.ok()) {
      CommitResult commit =
          CommitChange(storage, clock, table, snapshot, [&](const Snapshot& now) -> Result<Change> {
            RETURN_IF_ERROR(CheckStillThere(now, written.removes));
            return Change{.operation = kOptimize,
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
                           Files all;
                           for (const Partition& partition : part)
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
