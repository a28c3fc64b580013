// Checkpoints: the state of a table at a version as one Parquet file, so that nobody has to read
// all commits. We write and read the classic form, `<version>.checkpoint.parquet`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

// Tombstones younger than this are kept in checkpoints; a vacuum may not ask for longer.
constexpr int64_t kTombstoneRetentionMs = 30 * 86'400'000LL;

// As Parquet. One row an action: protocol, metaData, txn, add, remove.
Result<std::string> EncodeCheckpoint(const Snapshot& snapshot, int64_t now_ms);
// Reads ours and those of Spark and deltalake; statistics in columns (stats_parsed) are left out.
// kStop, naming `path`, if it is damaged or needs a feature that we do not have.
Result<Snapshot> DecodeCheckpoint(std::string bytes, Version version, std::string_view path);

// Puts the checkpoint of the snapshot's version and `_last_checkpoint`. O(live files).
Status WriteCheckpoint(Storage& storage, std::string_view table, const Snapshot& snapshot,
                       int64_t now_ms);

}  // namespace sightline::lake
