// Reads a table's log: the snapshot of its newest version, of an older one, and what was committed
// since.
//
// The functions keep no state. Any thread may call them, beside any writers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

// The content of `_delta_log`, from one listing.
struct LogListing {
  struct Entry {
    Version version;
    FileInfo file;
  };
  struct Checkpoint {
    Version version;
    std::vector<FileInfo> parts;  // all of them, in order; mostly one
  };
  std::vector<Entry> commits;           // by version
  std::vector<Checkpoint> checkpoints;  // by version; classic and complete ones only
  // The newest checkpoint that we cannot read: of another form, or with parts missing.
  std::optional<Entry> foreign_checkpoint;

  Version newest() const;  // kNoVersion if there is nothing
};
Result<LogListing> ListLog(Storage& storage, std::string_view table);

// Reads the newest version; kNoVersion if there is no table. It starts from the newest checkpoint
// and applies the commits after it. kStop, naming the file, if the log is damaged (a gap, or an
// unreadable commit or checkpoint), or needs a feature that we do not support.
Result<SnapshotPtr> ReadSnapshot(Storage& storage, std::string_view table);

// Reads `version`. kStop "cleaned" if the log no longer reaches back to it. Its data files may have
// been vacuumed; reading them says so.
Result<SnapshotPtr> ReadSnapshotAt(Storage& storage, std::string_view table, Version version);
// The newest version that was committed at or before `time_ms` (Unix epoch, by the storage's clock,
// which sets the times of commit files).
Result<Version> VersionAt(Storage& storage, std::string_view table, int64_t time_ms);

// Applies what was committed after `snapshot`; returns the same pointer if nothing was. Costs as
// much as the new commits.
Result<SnapshotPtr> Refresh(Storage& storage, std::string_view table, SnapshotPtr snapshot);

Result<Commit> ReadCommit(Storage& storage, std::string_view table, Version version);

// The snapshot, or a newer one, whose `foreign` has everything since our newest commit, as far as
// the log reaches back: a snapshot that was read from a checkpoint knows only what came after it.
// Mostly this reads one commit.
Result<SnapshotPtr> WithForeignChanges(Storage& storage, std::string_view table,
                                       SnapshotPtr snapshot);

// Deletes the commits and checkpoints that nobody needs to read a version of the last
// `retention_ms`: those before the newest checkpoint that is older than that at `now_ms`, by the
// storage's clock (Storage::NowMs). Returns how many files were deleted.
Result<int64_t> CleanLog(Storage& storage, std::string_view table, int64_t retention_ms,
                         int64_t now_ms);

}  // namespace sightline::lake
