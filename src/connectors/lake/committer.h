// Committing: put-if-absent of the next version, and what to do when somebody was faster.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

// What to commit on top of a snapshot; asked again after each conflict, with the newer snapshot. An
// error ends the commit and is returned: nothing was written. It checks everything that the change
// relies on (offsets, owner, that the files it removes are there).
using ChangePlan = std::function<Result<Change>(const Snapshot&)>;

struct CommitResult {
  Status status = Status::Ok();
  // The newest snapshot that was seen; with the commit if `status` is ok.
  SnapshotPtr snapshot;
  // False: it is unknown whether the commit is there, so its files must stay.
  bool known = true;
  int64_t conflicts = 0;
};

// Errors: those of the plan; kRetry if nothing was written; kRebuild if the outcome is unknown.
// `table` is the table's directory in the storage. A table that is not there is made by a change
// with metadata and protocol. Also kStop if the schema (but for kAddedColumns) or the partition
// columns are not those of `from` any more.
CommitResult CommitChange(Storage& storage, const Clock& clock, std::string_view table,
                          SnapshotPtr from, const ChangePlan& plan);

// Checks that every file is still in the snapshot: kRetry names the first that is not.
Status CheckStillThere(const Snapshot& snapshot, const std::vector<FilePtr>& files);

}  // namespace sightline::lake
