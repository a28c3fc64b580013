// Serves the parts of a LakeState that are not files as rows for DuckDB. A source may be read on
// any thread; a cursor by one.
#pragma once

#include <memory>

#include "model/scope.h"
#include "query/lake_source.h"
#include "query/row_scan.h"

namespace sightline {

// The columns of the three tables in the order in which the views show them.
extern const std::vector<ScanColumn> kCountColumns, kLedgerColumns, kLocationColumns;

// Each gives only the rows that `scope` may see, and keeps its list alive. A null list has no rows.
RowSource PendingCounts(const LakeState& state, Scope scope);
RowSource PendingLedger(const LakeState& state, Scope scope);
RowSource LocationRows(const LakeState& state, Scope scope);

}  // namespace sightline
