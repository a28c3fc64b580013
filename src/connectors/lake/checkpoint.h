// Checkpoints: the state of a table at one version as Parquet, so that nobody has to read all
// commits. This room writes the classic form of one file, `<version>.checkpoint.parquet`. It also
// reads the classic form of several files, `<version>.checkpoint.<part>.<parts>.parquet`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

// Checkpoints keep tombstones that are younger than this. A vacuum may not ask for a longer
// retention.
constexpr int64_t kTombstoneRetentionMs = 30 * 86'400'000LL;

// Encodes a snapshot as Parquet, one row per action: protocol, metaData, txn, add, remove.
Result<std::string> EncodeCheckpoint(const Snapshot& snapshot, int64_t now_ms);
// Decodes a checkpoint written by us, by Spark or by deltalake, of one part or several. Statistics
// in columns (stats_parsed) are skipped. kStop, naming `path`, if it is damaged or needs a feature
// that we do not support.
Result<Snapshot> DecodeCheckpoint(std::vector<std::string> parts, Version version,
                                  std::string_view path);

// Writes the checkpoint of the snapshot's version, and `_last_checkpoint`. O(live files).
Status WriteCheckpoint(Storage& storage, std::string_view table, const Snapshot& snapshot,
                       int64_t now_ms);

}  // namespace sightline::lake
