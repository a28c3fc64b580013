// Describe, History, ListFiles: what a table contains, as plain values for commands and pages.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

struct TableDescription {
  std::string name;
  int64_t version = -1;
  int64_t committed_ms = 0;  // when the version was committed, by its writer's clock
  int64_t checkpoint = -1;   // -1: none
  int64_t files = 0, bytes = 0;
  // Of the files, by size; 0 without files.
  int64_t smallest_bytes = 0, median_bytes = 0, largest_bytes = 0;
  int64_t rows = 0;  // according to the files' statistics
  std::vector<std::string> partition_columns;
  std::map<std::string, int64_t>
      files_of_day;                     // "2026-11-22" -> files; empty without a date column
  int64_t partitions = 0;               // distinct partition values
  std::map<std::string, int64_t> txns;  // application id -> version
  std::map<std::string, std::string> properties;
};
TableDescription Describe(std::string_view table, const Snapshot& snapshot);

// How far other tools are behind, by the storage's clock. They see a row with the version after it.
struct TableLag {
  int64_t age_ms = 0;  // of the newest version
  std::optional<int64_t>
      interval_ms;  // the median time between the newest versions; none: one only
};
// kRetry or kStop also if nothing can be put into the storage, which tells its time only so.
Result<TableLag> LagOf(Storage& storage, std::string_view table);

struct HistoryEntry {
  int64_t version = 0;
  int64_t timestamp_ms = 0;  // by the writer's clock
  std::string operation;
  std::string engine;
  int64_t files_added = 0, files_removed = 0;
  int64_t rows_added = 0;  // according to the statistics
};
// The newest `limit` commits that the log still has, newest first.
Result<std::vector<HistoryEntry>> History(Storage& storage, std::string_view table, int64_t limit);

struct FileEntry {
  std::string path;  // in the storage
  std::map<std::string, std::string> partition_values;
  int64_t size_bytes = 0;
  int64_t rows = -1;  // -1: unknown
  int64_t modified_ms = 0;
};
std::vector<FileEntry> ListFiles(std::string_view table, const Snapshot& snapshot);

}  // namespace sightline::lake
