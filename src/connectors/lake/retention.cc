#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/file_rows.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/tables.h"

namespace sightline::lake {
namespace {

using Removed = std::map<SourcePartition, RemovedCounts>;

std::string DateOf(const AddFile& file) {
  for (const PartitionValue& value : file.partition_values)
    if (value.column == "date") return value.value.value_or("");
  return {};
}

std::vector<FilePtr> OldFiles(const Snapshot& snapshot, const std::string& first_kept) {
  std::vector<FilePtr> files;
  snapshot.files.ForEach([&](const FilePtr& file) {
    const std::string date = DateOf(*file);
    if (!date.empty() && date < first_kept) files.push_back(file);
  });
  return files;
}

Status AddCounts(Storage& storage, const TableSpec& spec, const AddFile& file, Removed& removed) {
  const auto rows = ReadDataFile(storage, spec, file);
  if (!rows.ok()) return rows.status();
  return ForEachFileRow(spec, file, *rows.value(), [&](const FileRow& row) {
    RemovedCounts& counts = removed[row.partition];
    counts.item_count += row.window.count;
    counts.next = std::max(counts.next, row.next);
  });
}

// The newest day on which something was counted, by the clocks of the writers. Nothing: there is no
// ledger.
Result<std::optional<Day>> NewestLedgerDay(Storage& storage) {
  const Result<SnapshotPtr> ledger = ReadSnapshot(storage, kLedgerTable);
  if (!ledger.ok()) return ledger.status();
  std::string newest;
  ledger.value()->files.ForEach(
      [&](const FilePtr& file) { newest = std::max(newest, DateOf(*file)); });
  if (newest.empty()) return std::optional<Day>();
  const Result<Day> day = ParseDay(newest);
  if (!day.ok()) return day.status();
  return std::optional(day.value());
}

std::string Encode(const RemovedCounts& counts) {
  return fmt::format("{},{}", counts.item_count, counts.next.v);
}

}  // namespace

std::string RemovedProperty(const SourcePartition& partition) {
  return fmt::format("sightline.removed/{}/{}", partition.source, partition.partition);
}

RemovedCounts RemovedOf(const Snapshot& snapshot, const SourcePartition& partition) {
  const std::string value = snapshot.Property(RemovedProperty(partition));
  RemovedCounts counts;
  const char* end = value.data() + value.size();
  const auto [comma, error] = std::from_chars(value.data(), end, counts.item_count);
  if (error == std::errc() && comma != end) std::from_chars(comma + 1, end, counts.next.v);
  return counts;
}

Result<RetentionResult> RemoveOldDays(Storage& storage, const Clock& clock, std::string_view table,
                                      const RetentionOptions& options) {
  if (options.days < 1)
    return Status::Stop(
        fmt::format("a retention of {} days is refused: keep at least 1 day", options.days));
  if (table != kIncrementsTable)
    return Status::Stop(fmt::format("table '{}' has no retention by days: only '{}' has one", table,
                                    kIncrementsTable));
  const Result<SnapshotPtr> snapshot = ReadSnapshot(storage, table);
  if (!snapshot.ok()) return snapshot.status();
  const Result<TableSpec> spec = SpecOf(table, *snapshot.value());
  if (!spec.ok()) return spec.status();
  const Result<std::optional<Day>> newest = NewestLedgerDay(storage);
  if (!newest.ok()) return newest.status();
  if (!newest.value()) return RetentionResult{};
  const Result<int64_t> now_ms = storage.NowMs(LogDirectory(table));
  if (!now_ms.ok()) return now_ms.status();
  const Day today = std::min(
      DayOf({std::min(now_ms.value(), options.not_after_ms.value_or(INT64_MAX))}), *newest.value());
  const std::vector<FilePtr> files = OldFiles(*snapshot.value(), DayText({today.v - options.days}));

  RetentionResult result;
  std::set<std::string> days;
  Removed removed;
  for (const FilePtr& file : files) {
    days.insert(DateOf(*file));
    result.rows += std::max<int64_t>(RowsOf(*file), 0);
    result.bytes += file->size_bytes;
    if (!options.dry_run) RETURN_IF_ERROR(AddCounts(storage, spec.value(), *file, removed));
    ++result.files;
    if (options.progress && !options.progress(result.files, static_cast<int64_t>(files.size())))
      return Status::Retry("stopped before it was finished");
  }
  result.days.assign(days.begin(), days.end());
  if (options.dry_run || files.empty()) return result;
  const auto plan = [&](const Snapshot& now) -> Result<Change> {
    // The counts of the removed rows are added to the property in the same commit that removes the
    // files, so that the sums never differ.
    RETURN_IF_ERROR(CheckStillThere(now, files));
    Change change{.operation = "DELETE", .removes = files, .metadata = *now.metadata};
    for (const auto& [partition, counts] : removed) {
      // Rows without provenance belong to no source partition, so no sum misses them.
      if (partition.source.empty()) continue;
      RemovedCounts total = RemovedOf(now, partition);
      total.item_count += counts.item_count;
      total.next = std::max(total.next, counts.next);
      change.metadata->configuration[RemovedProperty(partition)] = Encode(total);
    }
    return change;
  };
  const CommitResult commit = CommitChange(storage, clock, table, snapshot.value(), plan);
  if (!commit.status.ok()) return commit.status;
  return result;
}

}  // namespace sightline::lake
