// The tables' rows as Arrow tables, one for each partition value.
//
// Internal to this room: it exposes Arrow.
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
  // Returns the location's present name, empty if it is unknown. May be null.
  std::function<std::string(LocationId)> location_name;
};

// Receives the rows of each partition value, once and in order, sorted by the spec's sort columns.
// One table is held at a time. An error ends the iteration and is returned.
using TakeRows = std::function<Status(const PartitionValues&, const arrow::Table&)>;
Status ForEachPartition(const TableSpec& spec, const RowContext& context,
                        std::span<const WriteBatch* const> batches, const TakeRows& take);

// The rows of the table `locations`.
Result<std::shared_ptr<arrow::Table>> LocationRows(const std::vector<LocationName>& locations);

}  // namespace sightline::lake
