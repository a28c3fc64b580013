// The location table as a Parquet file.
//
// The same columns and rules as the CSV's (locations.h): geographical_location_oid and parent are
// of any integer type, geographical_location and time_zone strings, latitude and longitude numbers
// (NaN: unknown); strings may be dictionaries; other columns are not read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/locations/locations.h"

namespace sightline {

// By its first bytes, whatever its name. Encrypted files, too: Arrow refuses those by name.
bool LooksLikeParquet(std::string_view bytes);

// Whole or not at all: kStop naming the column or the row (from 1) and what is wrong with it.
Result<std::vector<Location>> ParseParquetLocations(std::string bytes);

}  // namespace sightline
