// Maintenance: compaction, retention by days, and vacuum.
//
// Each is safe beside writers and beside the others, also in other processes. A commit is checked
// again on what others have committed, and a file is deleted only when nobody can need it. A dry
// run only reports what would be done.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"
#include "model/types.h"

namespace sightline::lake {

// Reports progress: `done` of `total` partition values, days or files. Returning false stops with
// kRetry; what was done stays.
using ProgressCallback = std::function<bool(int64_t done, int64_t total)>;

// Of a day that is not over yet (UTC), this many files of about the same size become one: so a row
// is written once more for each factor of this many files that its day gets, and 1,440 commits
// leave at most 31 files and their 45 packs.
constexpr int64_t kOpenDayFiles = 32;

struct CompactOptions {
  bool all_days = false;  // packs the day that is not over yet as if it were
  // Does nothing if somebody has packed the table less than this ago; 0: always goes on. So several
  // processes may maintain a table without a lease. Two that begin at the same moment lose work,
  // not rows.
  Millis recent{0};
  bool dry_run = false;
  ProgressCallback progress;     // may be null
  int64_t rows_max = 2'000'000;  // per file: bounds what is held in memory
};
struct CompactResult {
  int64_t partitions = 0;  // partitions that had more files than needed
  int64_t files_before = 0,
          files_after = 0;  // in these partitions; in a dry run `files_after` is an estimate
  int64_t bytes_before = 0, bytes_after = 0;  // in a dry run `bytes_after` is 0
  int64_t retries = 0;  // files were gone: another compactor had rewritten their partition
};
// Packs each partition value of a day that is over into one file of sorted rows (several above
// rows_max), and of a day that is not, what is many. The rows stay the same: the commits have
// dataChange=false. Memory: one partition value, at most rows_max rows.
Result<CompactResult> Compact(Storage& storage, const Clock& clock, std::string_view table,
                              const CompactOptions& options);

struct RetentionOptions {
  int64_t days = 0;  // days older than this before today (UTC) are removed; at least 1
  // Today is by the storage's clock, but not later than this, if it is given, nor than the newest
  // day on which the ledger was written: a clock that is set ahead removes nothing.
  std::optional<int64_t> not_after_ms;
  bool dry_run = false;
  ProgressCallback progress;  // may be null
};
struct RetentionResult {
  std::vector<std::string> days;  // the removed days, oldest first
  int64_t files = 0, rows = 0, bytes = 0;
};
// Removes whole days. A table property for each source partition keeps what the removed rows had
// counted, so that Verify() still adds up. The files stay for vacuum_retention.
Result<RetentionResult> RemoveOldDays(Storage& storage, const Clock& clock, std::string_view table,
                                      const RetentionOptions& options);

struct VacuumOptions {
  Millis retention{7 * 86'400'000LL};  // vacuum_retention; at most kTombstoneRetentionMs
  // Ages are counted by the storage's clock, but not from a later moment than this, if it is given:
  // then that clock is known to be ahead.
  std::optional<int64_t> not_after_ms;
  bool dry_run = false;
  ProgressCallback progress;  // may be null
};
struct VacuumResult {
  int64_t files = 0, bytes = 0;  // deleted files; in a dry run, those that would be
  int64_t kept = 0;              // files that are not in the table, but too young to be deleted
};
// Deletes the files that left the table longer ago than `retention`, and files that never were in
// it and are older than that. It never deletes what is in the table, the log, or what Repair() has
// set aside. kStop if another program has removed rows of ours: only these files can bring them
// back.
Result<VacuumResult> Vacuum(Storage& storage, std::string_view table, const VacuumOptions& options);

// The table property that keeps what retention has removed of a source partition, and its value:
// the sum of item_count and the greatest next_offset.
struct RemovedCounts {
  int64_t item_count = 0;
  Offset next;
};
std::string RemovedProperty(const SourcePartition& partition);
// All zero if nothing was removed.
RemovedCounts RemovedOf(const Snapshot& snapshot, const SourcePartition& partition);

}  // namespace sightline::lake
