// Dataset B: the location table, and how it is read from CSV (parquet_table.h: from Parquet,
// location_file.h: from a file of either).
//
// The separator (comma, semicolon, tab or bar) is the header line's. Columns by name, in any order:
// geographical_location_oid and geographical_location are required; latitude, longitude, time_zone
// and parent are optional; others are ignored. RFC 4180 quoting, UTF-8, BOM and CRLF accepted.
// Source: RFC 4180.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

struct Location {
  LocationId location;
  std::string name;
  std::optional<double> latitude, longitude;
  std::string time_zone;  // IANA; empty: UTC
  std::optional<LocationId> parent;
};

// Whole or not at all: kStop naming the line and what is wrong with it. A table without rows, with
// an oid twice or with a bad number is refused.
Result<std::vector<Location>> ParseLocations(std::string_view csv);

}  // namespace sightline
