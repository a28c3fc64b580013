#include "query/views.h"

#include <fmt/format.h>

#include "query/lake_rows.h"

namespace sightline {
namespace {

// A column of a file that is read apart: the value that belongs to the file's path. A file without
// one would silently have null there, so that it fails the query instead.
std::string ValueOfFile(const ScanColumn& column, std::string_view value) {
  return fmt::format(
      "CASE WHEN sightline_path IS NULL THEN error('a file has no partition values') ELSE {} END "
      "AS {}",
      value, column.name);
}

// Every part of a union selects these columns by name, because files may have more columns or
// another order.
std::string ColumnList(const std::vector<ScanColumn>& columns, const ViewPart& part) {
  std::string list;
  for (const ScanColumn& column : columns) {
    if (!list.empty()) list += ", ";
    if (part.is_apart && part.has_location && column.name == "geographical_location_oid") {
      list += ValueOfFile(column, "sightline_location");
    } else if (part.is_apart && part.has_date && column.name == "date") {
      list += ValueOfFile(column, "sightline_date");
    } else {
      list += column.name;
    }
  }
  return list;
}

// The files, each row with the values that belong to its file.
std::string FromApart(const ViewPart& part) {
  std::string values;
  if (part.has_location) {
    values += fmt::format(", unnest(getvariable('{}')) AS sightline_location",
                          LocationsOf(part.variable));
  }
  if (part.has_date)
    values += fmt::format(", unnest(getvariable('{}')) AS sightline_date", DatesOf(part.variable));
  return fmt::format(
      "read_parquet(getvariable('{0}'), hive_partitioning = false, filename = 'sightline_file') "
      "LEFT JOIN (SELECT unnest(getvariable('{0}')) AS sightline_path{1}) "
      "ON sightline_path = sightline_file",
      part.variable, values);
}

std::string From(const ViewPart& part) {
  if (part.variable.empty()) return part.from;
  if (part.is_apart) return FromApart(part);
  // If no file has the column, the empty second part still adds it to the result.
  if (part.may_lack_lost)
    return fmt::format(
        "(SELECT * FROM read_parquet(getvariable('{}'), hive_partitioning = false, union_by_name = "
        "true) "
        "UNION ALL BY NAME SELECT NULL::BIGINT AS lost WHERE false)",
        part.variable);
  std::string types;
  if (part.has_location) types += "'geographical_location_oid': BIGINT, ";
  if (part.has_date) types += "'date': DATE, ";
  if (types.empty()) {
    return fmt::format("read_parquet(getvariable('{}'), hive_partitioning = false)", part.variable);
  }
  return fmt::format(
      "read_parquet(getvariable('{}'), hive_partitioning = true, hive_types_autocast = false, "
      "hive_types = {{{}}})",
      part.variable, types.substr(0, types.size() - 2));
}

std::string Union(const std::vector<ViewPart>& parts, const std::vector<ScanColumn>& columns,
                  const Scope& scope) {
  std::string sql;
  for (const ViewPart& part : parts) {
    if (!sql.empty()) sql += " UNION ALL ";
    sql += fmt::format("SELECT {} FROM {}", ColumnList(columns, part), From(part));
  }
  if (!scope.locations) return sql;
  std::string seen;
  for (const LocationId location : *scope.locations) {
    if (!seen.empty()) seen += ", ";
    seen += fmt::format("{}", location.v);
  }
  const std::string where =
      seen.empty() ? "false" : fmt::format("geographical_location_oid IN ({})", seen);
  return fmt::format("SELECT * FROM ({}) WHERE {}", sql, where);
}

}  // namespace

std::set<std::string> ViewNames() {
  return {std::string(kItemCounts), std::string(kIncrements), std::string(kLedger),
          std::string(kLocations)};
}

std::string LocationsOf(std::string_view variable) { return fmt::format("{}_locations", variable); }
std::string DatesOf(std::string_view variable) { return fmt::format("{}_dates", variable); }

std::string IncrementsSql(const std::vector<ViewPart>& parts, const Scope& scope) {
  return Union(parts, kCountColumns, scope);
}

std::string LedgerSql(const std::vector<ViewPart>& parts, const Scope& scope) {
  return Union(parts, kLedgerColumns, scope);
}

// Sums the increments of each window. HAVING drops a sum that corrections brought back to 0.
std::string ItemCountsSql(std::string_view increments, std::string_view locations) {
  return fmt::format(
      "SELECT c.geographical_location_oid, l.geographical_location, c.date, c.item_name, "
      "c.window_start, c.window_end, c.item_count, c.first_detected, c.last_detected FROM "
      "(SELECT geographical_location_oid, date, item_name, window_start, window_end, "
      "sum(item_count)::BIGINT AS item_count, min(first_detected) AS first_detected, "
      "max(last_detected) AS last_detected FROM ({}) "
      "GROUP BY geographical_location_oid, date, item_name, window_start, window_end "
      "HAVING sum(item_count) <> 0) c LEFT JOIN "
      "(SELECT geographical_location_oid, geographical_location FROM {}) l "
      "ON l.geographical_location_oid = c.geographical_location_oid",
      increments, locations);
}

}  // namespace sightline
