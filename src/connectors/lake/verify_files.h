// The part of Verify() that looks at one table: its log and its files.
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

// Every commit and checkpoint parses and follows the one before, and checkpoints say what the
// commits say.
void CheckLog(Storage& storage, std::string_view table, VerifyReport& report);
// Every live file is there, whole and once. Nothing if there is no such table.
Result<std::optional<TableCheck>> CheckTable(Storage& storage, std::string_view table,
                                             const VerifyProgress& progress, VerifyReport& report);

}  // namespace sightline::lake
