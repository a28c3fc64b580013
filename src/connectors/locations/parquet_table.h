// The location table as a Parquet file.
//
// Columns and rules are those of the CSV (locations.h). geographical_location_oid and parent may be
// of any integer type; geographical_location and time_zone are strings; latitude and longitude are
// numbers (NaN: unknown). Strings may be dictionary-encoded. Other columns are not read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/locations/locations.h"

namespace sightline {

// Decides by the first bytes, whatever the file's name. Includes encrypted files, which Arrow
// refuses with a clear message.
bool LooksLikeParquet(std::string_view bytes);

// Parses the whole table or nothing: kStop names the column or the row (from 1) and what is wrong
// with it.
Result<std::vector<Location>> ParseParquetLocations(std::string bytes);

}  // namespace sightline
