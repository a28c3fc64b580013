#include "connectors/lake/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "connectors/lake/data_file.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"

namespace sightline::lake {

TableDescription Describe(std::string_view table, const Snapshot& snapshot) {
  TableDescription described{.name = std::string(table),
                             .version = snapshot.version.v,
                             .committed_ms = snapshot.timestamp_ms,
                             .checkpoint = snapshot.checkpoint.v,
                             .files = static_cast<int64_t>(snapshot.files.size()),
                             .partition_columns = snapshot.metadata->partition_columns,
                             .properties = snapshot.metadata->configuration};
  described.txns.insert(snapshot.txns.begin(), snapshot.txns.end());
  std::set<PartitionValues> partitions;
  std::vector<int64_t> sizes;
  snapshot.files.ForEach([&](const FilePtr& file) {
    described.bytes += file->size_bytes;
    sizes.push_back(file->size_bytes);
    described.rows += std::max<int64_t>(RowsOf(*file), 0);
    partitions.insert(file->partition_values);
    for (const PartitionValue& value : file->partition_values)
      if (value.column == "date") ++described.files_of_day[value.value.value_or("")];
  });
  described.partitions = static_cast<int64_t>(partitions.size());
  std::ranges::sort(sizes);
  if (!sizes.empty()) {
    described.smallest_bytes = sizes.front();
    described.median_bytes = sizes[sizes.size() / 2];
    described.largest_bytes = sizes.back();
  }
  return described;
}

Result<TableLag> LagOf(Storage& storage, std::string_view table) {
  constexpr size_t kIntervals = 20;
  const Result<LogListing> log = ListLog(storage, table);
  if (!log.ok()) return log.status();
  const auto& commits = log.value().commits;
  if (commits.empty()) return Status::Stop(fmt::format("the log of table '{}' is empty", table));
  const Result<int64_t> now_ms = storage.NowMs(LogDirectory(table));
  if (!now_ms.ok()) return now_ms.status();
  std::vector<int64_t> intervals;
  for (size_t i = commits.size() - std::min(kIntervals, commits.size() - 1); i < commits.size();
       ++i)
    intervals.push_back(commits[i].file.modified_ms - commits[i - 1].file.modified_ms);
  std::ranges::sort(intervals);
  TableLag lag{.age_ms = std::max<int64_t>(0, now_ms.value() - commits.back().file.modified_ms)};
  if (!intervals.empty()) lag.interval_ms = intervals[intervals.size() / 2];
  return lag;
}

Result<std::vector<HistoryEntry>> History(Storage& storage, std::string_view table, int64_t limit) {
  const Result<LogListing> log = ListLog(storage, table);
  if (!log.ok()) return log.status();
  std::vector<HistoryEntry> history;
  const auto& commits = log.value().commits;
  for (auto entry = commits.rbegin();
       entry != commits.rend() && static_cast<int64_t>(history.size()) < limit; ++entry) {
    const Result<Commit> commit = ReadCommit(storage, table, entry->version);
    if (!commit.ok()) return commit.status();
    HistoryEntry shown{.version = entry->version.v,
                       .timestamp_ms = commit.value().info.timestamp_ms,
                       .operation = commit.value().info.operation,
                       .engine = commit.value().info.engine,
                       .files_added = static_cast<int64_t>(commit.value().adds.size()),
                       .files_removed = static_cast<int64_t>(commit.value().removes.size())};
    for (const AddFile& file : commit.value().adds)
      shown.rows_added += std::max<int64_t>(RowsOf(file), 0);
    history.push_back(std::move(shown));
  }
  return history;
}

std::vector<FileEntry> ListFiles(std::string_view table, const Snapshot& snapshot) {
  std::vector<FileEntry> files;
  snapshot.files.ForEach([&](const FilePtr& file) {
    FileEntry entry{.path = fmt::format("{}/{}", table, UrlDecoded(file->path)),
                    .size_bytes = file->size_bytes,
                    .rows = RowsOf(*file),
                    .modified_ms = file->modified_ms};
    for (const PartitionValue& value : file->partition_values)
      entry.partition_values[value.column] = value.value.value_or("");
    files.push_back(std::move(entry));
  });
  return files;
}

}  // namespace sightline::lake
