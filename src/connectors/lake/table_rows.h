// Reads the tables' rows back as what was written: for tests and for Verify().
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/lake/log.h"
#include "connectors/lake/snapshot.h"
#include "connectors/lake/write_batch.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

// Calls `take` with the rows of each live file, one batch for each (source partition, offsets) in
// it. So a range of offsets may come several times. Rows without provenance (Spark's) have an empty
// source. One file is held at a time.
Status ForEachWriteBatch(Storage& storage, std::string_view table, const Snapshot& snapshot,
                         const std::function<void(WriteBatch&&)>& take);

}  // namespace sightline::lake
