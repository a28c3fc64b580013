// The layout of item_count_increments follows its data: by location while it has few locations, by
// bucket once it has many. It never goes back.
//
// Internal to this room, except for tests.
#pragma once

#include <functional>
#include <set>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"
#include "model/types.h"

namespace sightline::lake {

// The locations in a table of the layout by location. O(files).
std::set<LocationId> LocationsOf(const Snapshot& snapshot);

// Rewrites a table of the layout by location into the layout by bucket, in one commit: the rows
// stay the same, and no reader sees both. Returns the newest snapshot, which has the new layout,
// whoever has written it. `go_on` is asked between two files, by several threads; its error ends
// the conversion, and nothing was committed then. Memory: the rows of one day and bucket.
Result<SnapshotPtr> ConvertToBuckets(Storage& storage, const Clock& clock, SnapshotPtr from,
                                     const std::function<Status()>& go_on);

}  // namespace sightline::lake
