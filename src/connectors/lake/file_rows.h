// The rows of one data file as values. Internal to this room: it exposes Arrow.
#pragma once

#include <arrow/table.h>

#include <functional>

#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/write_batch.h"

namespace sightline::lake {

// One row with its provenance. Of `window` and `ledger`, only the member of the table is filled.
struct FileRow {
  SourcePartition partition;  // an empty source: the row has no provenance
  Offset first, next;
  CountRow window;
  LedgerRow ledger;
  bool coverage = false;  // of a ledger row: it only says which offsets are covered
};
// Calls `take` for each row. `rows` is of FileSchema. kStop if a value that must be there is null.
Status ForEachFileRow(const TableSpec& spec, const AddFile& file, const arrow::Table& rows,
                      const std::function<void(const FileRow&)>& take);

}  // namespace sightline::lake
