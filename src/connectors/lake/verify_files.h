// The part of Verify() that checks one table: its log and its files.
#pragma once

#include <optional>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/lake/verify.h"
#include "connectors/lake/verify_sums.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

struct TableCheck {
  VerifiedTable table;
  SnapshotPtr snapshot;  // null if the log cannot be read
  PartitionSums sums;
};

// Checks that every commit and checkpoint parses and follows the one before, and that checkpoints
// say the same as the commits.
void CheckLog(Storage& storage, std::string_view table, VerifyReport& report);
// Checks that every live file exists, whole and once. Nothing if there is no such table.
Result<std::optional<TableCheck>> CheckTable(Storage& storage, std::string_view table,
                                             const VerifyProgress& progress, VerifyReport& report);

}  // namespace sightline::lake
