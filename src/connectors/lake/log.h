// Reading a table's log: the snapshot of its newest version, of an older one, and what has come
// since.
//
// Functions of this file keep no state. Any thread may call them, beside any writers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

// What lies in `_delta_log`, by one listing.
struct LogListing {
  struct Entry {
    Version version;
    FileInfo file;
  };
  std::vector<Entry> commits;               // by version
  std::vector<Entry> checkpoints;           // by version; classic ones
  std::optional<Entry> foreign_checkpoint;  // the newest of a form that we do not read
};
Result<LogListing> ListLog(Storage& storage, std::string_view table);

// The newest version; kNoVersion if there is no table. From the newest checkpoint and the commits
// after it. kStop, naming the file, if the log is damaged (a gap, a commit or checkpoint that
// cannot be read) or needs a feature that we do not have.
Result<SnapshotPtr> ReadSnapshot(Storage& storage, std::string_view table);

// The same, of `version`. kStop "cleaned" if the log no longer reaches back to it. Its data files
// may have been vacuumed: reading them says so.
Result<SnapshotPtr> ReadSnapshotAt(Storage& storage, std::string_view table, Version version);
// The newest version that was committed at `time_ms` or before it (Unix epoch, by the place's
// clock: the commit files' times).
Result<Version> VersionAt(Storage& storage, std::string_view table, int64_t time_ms);

// What was committed after `snapshot`; the same pointer if nothing was. Costs the new commits.
Result<SnapshotPtr> Refresh(Storage& storage, std::string_view table, SnapshotPtr snapshot);

Result<Commit> ReadCommit(Storage& storage, std::string_view table, Version version);

// Deletes commits and checkpoints that nobody needs to read a version of the last `retention_ms`:
// those before the newest checkpoint that is older than that. How many files were deleted.
Result<int64_t> CleanLog(Storage& storage, std::string_view table, int64_t retention_ms,
                         int64_t now_ms);

}  // namespace sightline::lake
