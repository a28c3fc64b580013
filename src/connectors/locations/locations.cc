#include "connectors/locations/locations.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/utf8.h"

namespace sightline {
namespace {

struct Row {
  std::vector<std::string> fields;
  int64_t line = 0;
};

// Takes the next row off `text`; nullopt at the end. kStop for a quote that never closes.
Result<std::optional<Row>> NextRow(std::string_view& text, char separator, int64_t& line) {
  if (text.empty()) return std::optional<Row>();
  Row row{.line = line};
  std::string field;
  bool quoted = false;
  size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        field.push_back(c);
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field.push_back('"');
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == '"' && field.empty()) {
      quoted = true;
    } else if (c == separator) {
      row.fields.push_back(std::exchange(field, {}));
    } else if (c == '\n') {
      break;
    } else {
      field.push_back(c);
    }
  }
  if (quoted) return Status::Stop(fmt::format("line {}: a quoted field is never closed", row.line));
  if (!field.empty() && field.back() == '\r') field.pop_back();
  row.fields.push_back(std::move(field));
  text.remove_prefix(std::min(i + 1, text.size()));
  return std::optional<Row>(std::move(row));
}

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

char SeparatorOf(std::string_view header) {
  char best = ',';
  for (char c : {';', '\t', '|'})
    if (std::count(header.begin(), header.end(), c) >
        std::count(header.begin(), header.end(), best))
      best = c;
  return best;
}

struct Columns {
  std::optional<size_t> oid, name, latitude, longitude, time_zone, parent;
};

Result<Columns> ParseHeader(const Row& header) {
  Columns columns;
  const std::pair<std::string_view, std::optional<size_t>*> known[] = {
      {"geographical_location_oid", &columns.oid},
      {"geographical_location", &columns.name},
      {"latitude", &columns.latitude},
      {"longitude", &columns.longitude},
      {"time_zone", &columns.time_zone},
      {"parent", &columns.parent}};
  for (size_t i = 0; i < header.fields.size(); ++i)
    for (const auto& [name, column] : known) {
      if (header.fields[i] != name) continue;
      if (*column)
        return Status::Stop(
            fmt::format("line 1: column '{}' occurs twice: remove one of them", name));
      *column = i;
    }
  for (const auto& [name, column] : {known[0], known[1]})
    if (!*column)
      return Status::Stop(fmt::format("line 1: column '{}' is missing; the header is '{}'", name,
                                      fmt::join(header.fields, "', '")));
  return columns;
}

Status ParseRow(const Row& row, const Columns& columns, Location* location) {
  auto text = [&](const std::optional<size_t>& column) -> std::string_view {
    return column && *column < row.fields.size() ? std::string_view(row.fields[*column])
                                                 : std::string_view();
  };
  for (const std::string& field : row.fields)
    if (!IsUtf8(field))
      return Status::Stop(
          fmt::format("line {}: not valid UTF-8: save the table as UTF-8", row.line));
  auto bad = [&](std::string_view name, std::string_view value) {
    return Status::Stop(fmt::format("line {}: {} '{}' is not a number", row.line, name, value));
  };
  if (!ParseNumber(text(columns.oid), &location->location.v))
    return bad("geographical_location_oid", text(columns.oid));
  location->name = text(columns.name);
  if (location->name.empty())
    return Status::Stop(fmt::format("line {}: geographical_location is empty", row.line));
  location->time_zone = text(columns.time_zone);
  auto number = [&](const std::optional<size_t>& column, std::string_view name,
                    std::optional<double>* out) {
    double value = 0;
    if (text(column).empty()) return Status::Ok();
    if (!ParseNumber(text(column), &value)) return bad(name, text(column));
    *out = value;
    return Status::Ok();
  };
  RETURN_IF_ERROR(number(columns.latitude, "latitude", &location->latitude));
  RETURN_IF_ERROR(number(columns.longitude, "longitude", &location->longitude));
  if (LocationId parent; !text(columns.parent).empty()) {
    if (!ParseNumber(text(columns.parent), &parent.v)) return bad("parent", text(columns.parent));
    location->parent = parent;
  }
  return Status::Ok();
}

}  // namespace

Result<std::vector<Location>> ParseLocations(std::string_view csv) {
  // Spreadsheet programs write a byte order mark.
  if (csv.starts_with("\xEF\xBB\xBF")) csv.remove_prefix(3);
  const char separator = SeparatorOf(csv.substr(0, csv.find('\n')));
  int64_t line = 1;
  Result<std::optional<Row>> header = NextRow(csv, separator, line);
  if (!header.ok()) return header.status();
  if (!header.value()) return Status::Stop("the file is empty; it needs a header line");
  Result<Columns> columns = ParseHeader(*header.value());
  if (!columns.ok()) return columns.status();

  std::vector<Location> locations;
  std::unordered_map<int64_t, int64_t> line_of;
  for (;;) {
    Result<std::optional<Row>> row = NextRow(csv, separator, line);
    if (!row.ok()) return row.status();
    if (!row.value()) break;
    if (row.value()->fields.size() == 1 && row.value()->fields[0].empty()) continue;
    Location location;
    RETURN_IF_ERROR(ParseRow(*row.value(), columns.value(), &location));
    const auto [it, is_new] = line_of.try_emplace(location.location.v, row.value()->line);
    if (!is_new)
      return Status::Stop(fmt::format(
          "line {}: geographical_location_oid {} occurs already in line {}: remove one of them",
          row.value()->line, location.location.v, it->second));
    locations.push_back(std::move(location));
  }
  if (locations.empty()) return Status::Stop("the table has a header but no rows");
  return locations;
}

}  // namespace sightline
