#include "query/parsed_sql.h"

#include <algorithm>
#include <utility>

namespace sightline {

Result<SqlGuard> GuardFor(const duck::Connection& connection, std::set<std::string> tables) {
  // The condition on '?' is always true; QueryText() wants a parameter.
  Result<std::string> names = duck::QueryText(
      connection,
      "SELECT string_agg(lower(view_name), ',') FROM duckdb_views() WHERE internal AND ? = ''", "");
  if (!names.ok()) return names.status();
  std::set<std::string> catalog;
  std::string_view rest = names.value();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    catalog.insert(std::string(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return SqlGuard(std::move(tables), std::move(catalog));
}

Result<CheckedSql> ParseAndCheck(const duck::Connection& connection, const SqlGuard& guard,
                                 std::string_view sql) {
  RETURN_IF_ERROR(CheckSqlText(sql));
  Result<std::string> tree =
      duck::QueryText(connection, "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", sql);
  if (!tree.ok()) return tree.status();
  return guard.Check(sql, tree.value());
}

}  // namespace sightline
