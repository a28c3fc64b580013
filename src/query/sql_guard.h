// What a user's SQL may be, and what it can be seen to want.
//
// The text is parsed by DuckDB (json_serialize_sql); we look at the tree, never at the text.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "query/duck.h"
#include "query/read_bounds.h"

namespace sightline {

// DuckDB takes time that is quadratic in the length of a chain of ANDs: 0.3 s for this much.
constexpr size_t kSqlBytesMax = 64 * 1024;

struct CheckedSql {
  // Our tables that it reads, and what is known of the rows that it wants from each.
  std::map<std::string, ReadBounds, std::less<>> tables;
};

// One guard for a database; thread-safe after Create().
class SqlGuard {
 public:
  // `tables`: what may be read.
  static Result<SqlGuard> Create(const duck::Connection& connection, std::set<std::string> tables);

  // kStop, with the line and column where there is one, unless `sql` is one SELECT that reads only
  // our tables and calls only functions that compute.
  Result<CheckedSql> Check(const duck::Connection& connection, std::string_view sql) const;

 private:
  std::set<std::string> tables_;
  std::set<std::string> catalog_;  // names of DuckDB's own views, which no CTE may take
};

}  // namespace sightline
