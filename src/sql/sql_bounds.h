// Derives ReadBounds from a WHERE clause. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <map>
#include <string>
#include <string_view>

#include "sql/read_bounds.h"

namespace sightline {

// The string `key` of a node of json_serialize_sql. Empty if there is none.
std::string_view TextOf(const boost::json::object& object, std::string_view key);

// The bounds of each table in the FROM clause of `select`, a SELECT_NODE of json_serialize_sql.
// They come from those conditions of the WHERE clause that are joined with AND and compare
// geographical_location_oid, date, window_start or append_hour with constants. They hold for every
// kind of join, because a comparison with null is never true. Tables in subqueries or pivots are
// not in the answer.
std::map<const boost::json::object*, ReadBounds> BoundsOf(const boost::json::object& select);

}  // namespace sightline
