// SqlGuard: decides whether a user's SQL may run, and finds which rows it may need.
//
// DuckDB itself parses the text (json_serialize_sql, query/parsed_sql.h); the guard inspects the
// tree, never the text. So there is no second parser that could understand a statement differently.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/status.h"
#include "sql/read_bounds.h"

namespace sightline {

// DuckDB's time is quadratic in the length of a chain of ANDs: 0.3 s for this many bytes.
constexpr size_t kSqlBytesMax = 64 * 1024;

struct CheckedSql {
  // The tables that the statement reads, and the bounds of the rows that it needs from each.
  std::map<std::string, ReadBounds, std::less<>> tables;
};

// Why the text cannot be parsed at all: it is too long, not UTF-8, or contains a NUL.
Status CheckSqlText(std::string_view sql);

// A value; thread-safe.
class SqlGuard {
 public:
  SqlGuard() = default;
  // `tables`: the names that may be read. `catalog`: the names of DuckDB's own views.
  SqlGuard(std::set<std::string> tables, std::set<std::string> catalog)
      : tables_(std::move(tables)), catalog_(std::move(catalog)) {}

  // Accepts one SELECT that reads only our tables and calls only functions that compute. Anything
  // else is kStop, with a line and column where they are known. `tree` is what json_serialize_sql
  // made of `sql`.
  Result<CheckedSql> Check(std::string_view sql, std::string_view tree) const;

 private:
  std::set<std::string> tables_;
  std::set<std::string> catalog_;  // which no WITH query may have as its name
};

}  // namespace sightline
