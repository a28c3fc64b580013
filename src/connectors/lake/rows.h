// Rows of the tables as Arrow tables, one for each partition value.
//
// Internal to this room: it shows Arrow.
#pragma once

#include <arrow/table.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/lake/locations_table.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/write_batch.h"
#include "model/types.h"

namespace sightline::lake {

struct RowContext {
  std::string engine;
  Millis window_size{60'000};
  Day today;  // the day under which ledger rows are written
  // The location's name now; empty: not known. May be null.
  std::function<std::string(LocationId)> location_name;
};

// Called once for each partition value, in order, with its rows, sorted by the spec's sort columns;
// one table is held at a time. An error ends it and is returned.
using TakeRows = std::function<Status(const PartitionValues&, const arrow::Table&)>;
Status ForEachPartition(const TableSpec& spec, const RowContext& context,
                        std::span<const WriteBatch* const> batches, const TakeRows& take);

// All rows of the table `locations`.
Result<std::shared_ptr<arrow::Table>> LocationRows(const std::vector<LocationName>& locations);

}  // namespace sightline::lake
