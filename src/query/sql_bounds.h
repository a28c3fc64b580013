// ReadBounds out of a WHERE clause.
#pragma once

#include <boost/json/object.hpp>
#include <map>
#include <string>

#include "query/read_bounds.h"

namespace sightline {

// For each table in the FROM clause of `select` (a SELECT_NODE of json_serialize_sql), what its
// WHERE clause says by conditions joined with AND: geographical_location_oid, date, window_start or
// append_hour compared with constants. Right for every kind of join, since a comparison is never
// true of a null. Tables deeper down (subqueries, pivots) are not in the answer.
std::map<const boost::json::object*, ReadBounds> BoundsOf(const boost::json::object& select);

}  // namespace sightline
