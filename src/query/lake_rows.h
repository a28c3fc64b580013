// The parts of a LakeState that are no files of the lake, as rows for DuckDB.
#pragma once

#include <memory>

#include "model/scope.h"
#include "query/lake_source.h"
#include "query/row_scan.h"

namespace sightline {

// The columns of the three tables, in order, as the views show them.
extern const std::vector<ScanColumn> kCountColumns, kLedgerColumns, kLocationColumns;

// Each gives only the rows that `scope` sees, and keeps the list alive. A null list has no rows.
RowSource PendingCounts(const LakeState& state, Scope scope);
RowSource PendingLedger(const LakeState& state, Scope scope);
RowSource LocationRows(const LakeState& state, Scope scope);

}  // namespace sightline
