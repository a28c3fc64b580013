#include "connectors/locations/locations.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
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

std::string_view Trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// Takes the next row off `text`; nullopt at the end. Spaces around a field that has no quotes are
// not part of it. kStop for a quote that never closes.
Result<std::optional<Row>> NextRow(std::string_view& text, char separator, int64_t& line) {
  if (text.empty()) return std::optional<Row>();
  Row row{.line = line};
  std::string field;
  bool quoted = false;      // inside of quotes
  bool had_quotes = false;  // the field has them, so its spaces count
  const auto end_field = [&] {
    row.fields.push_back(had_quotes ? field : std::string(Trimmed(field)));
    field.clear();
    had_quotes = false;
  };
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
    } else if (c == '"' && !had_quotes && Trimmed(field).empty()) {
      field.clear();
      quoted = had_quotes = true;
    } else if (c == separator) {
      end_field();
    } else if (c == '\n') {
      break;
    } else if (had_quotes && (c == ' ' || c == '\r')) {
      // Behind the closing quote.
    } else {
      field.push_back(c);
    }
  }
  if (quoted) return Status::Stop(fmt::format("line {}: a quoted field is never closed", row.line));
  if (!had_quotes && field.ends_with('\r')) field.pop_back();
  end_field();
  text.remove_prefix(std::min(i + 1, text.size()));
  return std::optional<Row>(std::move(row));
}

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// A whole number, also as spreadsheets write it: "7.0", "7,0". Never through a double, which could
// not hold every oid.
bool ParseWhole(std::string_view text, int64_t* value) {
  text = Trimmed(text);
  const size_t point = text.find_first_of(".,");
  if (point != text.npos) {
    const std::string_view zeros = text.substr(point + 1);
    if (zeros.empty() || zeros.find_first_not_of('0') != zeros.npos) return false;
  }
  return ParseNumber(text.substr(0, point), value);
}

// "59.9", or "59,9" as spreadsheets of many countries write it. Not "1.234,5": a coordinate has no
// thousands.
bool ParseDecimal(std::string_view text, double* value) {
  std::string point(Trimmed(text));
  std::replace(point.begin(), point.end(), ',', '.');
  return ParseNumber<double>(point, value) && std::isfinite(*value);
}

// A first line that names the separator, for example "sep=;", which spreadsheets understand. Takes
// it off `csv`.
std::optional<char> TakeSeparatorLine(std::string_view& csv) {
  std::string_view line = csv.substr(0, csv.find('\n'));
  const size_t bytes = std::min(line.size() + 1, csv.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.size() > 2 && line.starts_with('"') && line.ends_with('"'))
    line = line.substr(1, line.size() - 2);
  const bool named = line.size() == 5 && (line.starts_with("sep=") || line.starts_with("SEP=") ||
                                          line.starts_with("Sep="));
  if (!named) return std::nullopt;
  csv.remove_prefix(bytes);
  return line.back();
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
        return Status::Stop(fmt::format("line {}: column '{}' occurs twice: remove one of them",
                                        header.line, name));
      *column = i;
    }
  for (const auto& [name, column] : {known[0], known[1]})
    if (!*column)
      return Status::Stop(fmt::format("line {}: column '{}' is missing; the header is '{}'",
                                      header.line, name, fmt::join(header.fields, "', '")));
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
  if (!ParseWhole(text(columns.oid), &location->location.v))
    return bad("geographical_location_oid", text(columns.oid));
  location->name = text(columns.name);
  if (location->name.empty())
    return Status::Stop(fmt::format("line {}: geographical_location is empty", row.line));
  location->time_zone = text(columns.time_zone);
  auto number = [&](const std::optional<size_t>& column, std::string_view name,
                    std::optional<double>* out) {
    double value = 0;
    if (text(column).empty()) return Status::Ok();
    if (!ParseDecimal(text(column), &value)) return bad(name, text(column));
    *out = value;
    return Status::Ok();
  };
  RETURN_IF_ERROR(number(columns.latitude, "latitude", &location->latitude));
  RETURN_IF_ERROR(number(columns.longitude, "longitude", &location->longitude));
  if (LocationId parent; !text(columns.parent).empty()) {
    if (!ParseWhole(text(columns.parent), &parent.v))
      return Status::Stop(fmt::format(
          "line {}: parent '{}' is not a number: write the geographical_location_oid of the parent",
          row.line, text(columns.parent)));
    location->parent = parent;
  }
  return Status::Ok();
}

}  // namespace

Result<std::vector<Location>> ParseLocations(std::string_view csv) {
  // Spreadsheet programs write a byte order mark.
  if (csv.starts_with("\xEF\xBB\xBF")) csv.remove_prefix(3);
  int64_t line = 1;
  const std::optional<char> named = TakeSeparatorLine(csv);
  if (named) ++line;
  const char separator = named ? *named : SeparatorOf(csv.substr(0, csv.find('\n')));
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
    // Spreadsheets write a row of separators for each row that is empty.
    const std::vector<std::string>& fields = row.value()->fields;
    if (std::all_of(fields.begin(), fields.end(), [](const auto& f) { return f.empty(); }))
      continue;
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
