// Dataset B: the location table, and how it is read from CSV (see parquet_table.h for Parquet, and
// location_file.h for a file of either kind).
//
// The separator (comma, semicolon, tab or bar) is that of the header line, or the one that a line
// "sep=;" before it names. Columns are found by name, in any order: geographical_location_oid and
// geographical_location are required; latitude, longitude, time_zone and parent are optional;
// others are ignored. RFC 4180 quoting, UTF-8, a BOM and CRLF are accepted, and what spreadsheets
// write: decimal commas ("59,9"), whole numbers as "7.0", empty rows, and spaces around fields.
// Source: RFC 4180.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/location.h"

namespace sightline {

// Parses the whole table or nothing: kStop names the line and what is wrong with it. A table
// without rows, with a repeated oid or with a bad number is refused.
Result<std::vector<Location>> ParseLocations(std::string_view csv);

}  // namespace sightline
