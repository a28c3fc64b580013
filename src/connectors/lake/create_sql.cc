#include "connectors/lake/create_sql.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "connectors/lake/tables.h"

namespace sightline::lake {
namespace {

struct About {
  std::string_view name, text;
};
constexpr About kAboutTables[] = {
    {kIncrementsTable, "What each commit of Sightline added; the count is the sum of item_count"},
    {kLedgerTable, "What became of each detection, by offsets, location, camera and hour"},
    {kLocationsTable, "The locations by their present names"}};
constexpr About kAboutColumns[] = {
    {"append_hour", "Hour in which the log took the detections, UTC; null for files"},
    {"bucket", "Part of the locations, by a hash of the oid"},
    {"conflicts", "Duplicates that differ from what was counted"},
    {"counted", "Detections that were counted"},
    {"coverage", "True: the row only says that its offsets were read"},
    {"date", "UTC day"},
    {"duplicate", "Detections that were there before"},
    {"engine", "Who counted"},
    {"first_detected", "Earliest event time of what the row counts"},
    {"first_offset", "First offset that was counted"},
    {"future", "Detections from the future"},
    {"geographical_location", "Name of the location when the row was written"},
    {"geographical_location_oid", "Id of the location"},
    {"heartbeats", "Signs of life"},
    {"item_count", "What this row adds; negative in a correction that takes away"},
    {"item_name", "What was detected"},
    {"kind", "count or correction"},
    {"last_detected", "Latest event time of what the row counts"},
    {"latitude", "Degrees"},
    {"longitude", "Degrees"},
    {"lost", "Offsets that were gone before they were counted"},
    {"malformed", "Elements that could not be read"},
    {"next_offset", "Offset behind the last that was counted"},
    {"outside", "Detections outside count_from and count_until"},
    {"parent", "Id of the location around it"},
    {"received", "Elements that were received: the sum of the outcomes"},
    {"source", "Log that was counted; null in rows of other programs"},
    {"source_partition", "Partition of the source"},
    {"time_zone", "IANA time zone"},
    {"too_late", "Detections behind the horizon"},
    {"video_camera_oid", "Id of the camera"},
    {"window_end", "End of the window, not included, UTC"},
    {"window_start", "Start of the window, UTC"}};

template <size_t N>
std::string_view AboutOf(const About (&about)[N], std::string_view name) {
  const auto* const found = std::ranges::find(about, name, &About::name);
  return found == std::end(about) ? std::string_view() : found->text;
}

// A name in the backquotes of Hive and Spark.
std::string Name(std::string_view name) {
  std::string quoted = "`";
  for (const char c : name) quoted.append(c == '`' ? 2 : 1, c);
  return quoted + "`";
}

// A text literal of Hive and Spark.
std::string Text(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

std::string SqlTypeOf(const std::string& type) {
  if (type == "long") return "BIGINT";
  if (type == "integer") return "INT";
  if (type == "short") return "SMALLINT";
  if (type == "byte") return "TINYINT";
  std::string upper = type;  // the others have the same names: STRING, DOUBLE, DECIMAL(10,2), ...
  std::ranges::transform(upper, upper.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return upper;
}

std::string ColumnLine(SqlDialect dialect, const TableColumn& column, bool is_last) {
  const bool is_hive = dialect == SqlDialect::kHive;
  const std::string_view ours = AboutOf(kAboutColumns, column.name);
  const std::string_view comment = is_hive && column.comment.empty() ? ours : column.comment;
  std::string line = fmt::format("  {} {}", Name(column.name), SqlTypeOf(column.type));
  if (!comment.empty()) line += " COMMENT " + Text(comment);
  if (!is_last) line += ',';
  if (!is_hive && !ours.empty()) line += fmt::format(" -- {}", ours);
  return line + "\n";
}

std::string PartitionedBy(const Snapshot& snapshot) {
  std::string names;
  for (const std::string& column : snapshot.metadata->partition_columns)
    names += (names.empty() ? "" : ", ") + Name(column);
  return names.empty() ? std::string() : fmt::format("PARTITIONED BY ({})\n", names);
}

std::string LocationOf(std::string_view url, std::string_view table) {
  while (url.size() > 1 && url.ends_with('/')) url.remove_suffix(1);
  return fmt::format("{}{}/{}", url.starts_with('/') ? "file://" : "", url, table);
}

}  // namespace

Result<std::string> CreateTableSql(SqlDialect dialect, std::string_view url, std::string_view table,
                                   const Snapshot& snapshot) {
  const Result<std::vector<TableColumn>> columns = ColumnsOf(table, snapshot);
  if (!columns.ok()) return columns.status();
  std::string lines;
  for (const TableColumn& column : columns.value()) {
    if (column.type == kNestedType)
      return Status::Stop(fmt::format(
          "table '{}' has a column '{}' of a composite type, for which this program writes no "
          "SQL; register the table by its location alone",
          table, column.name));
    lines += ColumnLine(dialect, column, &column == &columns.value().back());
  }
  const std::string location = Text(LocationOf(url, table));
  const std::string about = Text(AboutOf(kAboutTables, table));
  if (dialect == SqlDialect::kHive)
    return fmt::format(
        "CREATE EXTERNAL TABLE IF NOT EXISTS {} (\n{})\nCOMMENT {}\n"
        "STORED BY 'io.delta.hive.DeltaStorageHandler'\nLOCATION {};\n",
        Name(table), lines, about, location);
  const char* const place = dialect == SqlDialect::kUnity ? "`main`.`default`." : "";
  return fmt::format(
      "CREATE TABLE IF NOT EXISTS {}{} (\n{})\nUSING DELTA\n{}COMMENT {}\nLOCATION {};\n", place,
      Name(table), lines, PartitionedBy(snapshot), about, location);
}

}  // namespace sightline::lake
