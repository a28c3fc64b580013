// How much a statement grows while DuckDB plans it. A short text can stand for a plan without an
// end: DuckDB puts the query of a WITH name in the place of each of its uses, the columns in the
// place of each '*', the expression in the place of its alias, and the arguments of a macro in each
// of its places. All of them can double at every level. Planning cannot be interrupted. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>

namespace sightline {

// Upper bounds, UINT64_MAX for larger ones.
struct SqlExpansion {
  // Tables and functions in FROM, each counted as often as DuckDB may plan it. json_serialize_sql
  // does not tell which WITH queries are MATERIALIZED, so they count for each use, too.
  uint64_t tables = 0;
  // Columns of the widest SELECT.
  uint64_t columns = 0;
  // Expressions that DuckDB plans beyond those that are written.
  uint64_t copies = 0;
};

// The growth of `query`, a query node of json_serialize_sql such as SELECT_NODE.
SqlExpansion ExpansionOf(const boost::json::object& query);

}  // namespace sightline
