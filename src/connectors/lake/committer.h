// Committing: put-if-absent of the table's next version, and what follows when another writer was
// faster.
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

// Plans what to commit on top of a snapshot. It is called again after each conflict, with the newer
// snapshot. An error ends the commit and is returned; nothing was written then. The plan checks
// everything that the change relies on: offsets, the owner, and that the files which it removes are
// still there.
using ChangePlan = std::function<Result<Change>(const Snapshot&)>;

struct CommitResult {
  Status status = Status::Ok();
  // The newest snapshot that was seen. It includes the commit if `status` is kOk.
  SnapshotPtr snapshot;
  // False: it is unknown whether the commit took effect, so its files must stay.
  bool known = true;
  // The columns of `snapshot` are no longer those that the change was made for.
  bool schema_changed = false;
  int64_t conflicts = 0;
};

// Commits a change. Version n + 1 is written only where n is: if the log no longer has the commit
// that this one would follow, or if nobody has looked at the log's end for TrustedMs(), it is read
// anew. Every attempt asks CheckWritable(). Errors: those of the plan; kRetry if nothing was
// written; kRebuild if the outcome is unknown; kStop if the log there is older, or is that of
// another table. If another writer has changed the schema (see HoldsRowsOf) or the partition
// columns, the change is not planned: that is kRetry with schema_changed. `table` is the
// table's directory in the storage. If there is no such table, a change with metadata and protocol
// creates it.
CommitResult CommitChange(Storage& storage, const Clock& clock, std::string_view table,
                          SnapshotPtr from, const ChangePlan& plan);

// Checks that every file is still in the snapshot. kRetry names the first one that is not.
Status CheckStillThere(const Snapshot& snapshot, const std::vector<FilePtr>& files);

}  // namespace sightline::lake
