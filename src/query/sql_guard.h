// SqlGuard: decides whether a user's SQL may run, and finds which rows it may need.
//
// DuckDB itself parses the text (json_serialize_sql); the guard inspects the tree, never the text.
// So there is no second parser that could understand a statement differently.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "query/duck.h"
#include "query/read_bounds.h"

namespace sightline {

// DuckDB's time is quadratic in the length of a chain of ANDs: 0.3 s for this many bytes.
constexpr size_t kSqlBytesMax = 64 * 1024;

struct CheckedSql {
  // The tables that the statement reads, and the bounds of the rows that it needs from each.
  std::map<std::string, ReadBounds, std::less<>> tables;
};

// One guard per database; thread-safe after Create().
class SqlGuard {
 public:
  // `tables`: the names that may be read.
  static Result<SqlGuard> Create(const duck::Connection& connection, std::set<std::string> tables);

  // Accepts one SELECT that reads only our tables and calls only functions that compute. Anything
  // else is kStop, with a line and column where they are known.
  Result<CheckedSql> Check(const duck::Connection& connection, std::string_view sql) const;

 private:
  std::set<std::string> tables_;
  std::set<std::string> catalog_;  // the names of DuckDB's own views, which no WITH query may have
};

}  // namespace sightline
