// Asks DuckDB what a user's SQL means. Internal to this room.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "query/duck.h"
#include "sql/sql_guard.h"

namespace sightline {

// The guard of a database in which `tables` may be read.
Result<SqlGuard> GuardFor(const duck::Connection& connection, std::set<std::string> tables);

// Parses `sql` and asks the guard whether it may run. kStop with a sentence for the user.
Result<CheckedSql> ParseAndCheck(const duck::Connection& connection, const SqlGuard& guard,
                                 std::string_view sql);

}  // namespace sightline
