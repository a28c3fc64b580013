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
// geographical_location_oid, date, window_start or append_hour, bare or with the table's name
// before it, with constants of the column's own type: whole numbers, exact ISO dates and times.
// Anything else bounds nothing, because DuckDB may understand it in its own way. They hold for
// inner and outer joins. A table has none where its other rows matter: on the right of an ASOF,
// SEMI or ANTI join, in a positional join, in a sample. Tables in subqueries or pivots are not in
// the answer.
//
// The name of a column that the table does not have may mean one of another query around this one.
// That is harmless: a bound of one table's columns skips no file of another table.
std::map<const boost::json::object*, ReadBounds> BoundsOf(const boost::json::object& select);

}  // namespace sightline
