// The rows of one data file as values. Internal to this room: it shows Arrow.
#pragma once

#include <arrow/table.h>

#include <functional>

#include "base/status.h"
#include "connectors/lake/actions.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/write_batch.h"

namespace sightline::lake {

// One row with its provenance. Of the two members only that of the table is filled.
struct FileRow {
  SourcePartition partition;  // an empty source: no provenance
  Offset first, next;
  CountRow window;
  LedgerRow ledger;
  bool coverage = false;  // of a ledger row: it only says which offsets are covered
};
// `rows` is of FileSchema. kStop if a value that must be there is null.
Status ForEachFileRow(const TableSpec& spec, const AddFile& file, const arrow::Table& rows,
                      const std::function<void(const FileRow&)>& take);

}  // namespace sightline::lake
