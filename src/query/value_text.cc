#include "query/value_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string_view.hpp>
#include <cmath>
#include <iterator>

#include "sql/calendar.h"

namespace sightline {
namespace {

// False for DuckDB's infinite dates and times, and for years that RFC 3339 cannot express.
bool IsShownTime(ColumnType type, int64_t value) {
  constexpr int64_t kDayMicros = kDayMs * 1000;
  if (type == ColumnType::kDate) return value >= kFirstDay.v && value < kDaysEnd.v;
  return value >= kFirstDay.v * kDayMicros && value < kDaysEnd.v * kDayMicros;
}

std::string TimeText(ColumnType type, int64_t value) {
  if (!IsShownTime(type, value)) return value < 0 ? "-infinity" : "infinity";
  if (type == ColumnType::kDate) return FormatDay({value});
  return FormatMicros(value) + (type == ColumnType::kTimestamp ? "Z" : "");
}

bool IsTime(ColumnType type) {
  return type == ColumnType::kTimestamp || type == ColumnType::kLocalTime ||
         type == ColumnType::kDate;
}

bool IsLongWholeNumber(std::string_view text) {
  constexpr size_t kExcelDigits = 15;
  if (text.starts_with('-')) text.remove_prefix(1);
  return text.size() > kExcelDigits &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool IsOid(std::string_view name) { return name == "oid" || name.ends_with("_oid"); }

}  // namespace

bool IsNumber(ColumnType type) {
  return type == ColumnType::kInteger || type == ColumnType::kDouble || type == ColumnType::kNumber;
}

std::vector<std::string> UniqueNames(const std::vector<Column>& columns) {
  std::vector<std::string> names;
  for (const Column& column : columns) {
    std::string name = column.name;
    for (int again = 1; std::ranges::find(names, name) != names.end(); ++again) {
      name = fmt::format("{}_{}", column.name, again);
    }
    names.push_back(std::move(name));
  }
  return names;
}

std::string PlainText(const Column& column, const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const auto* real = std::get_if<double>(&value)) return fmt::format("{}", *real);
  if (const auto* number = std::get_if<int64_t>(&value)) {
    if (IsTime(column.type)) return TimeText(column.type, *number);
    return fmt::format("{}", *number);
  }
  return {};
}

std::string ExcelText(const Column& column, const Value& value) {
  std::string text = PlainText(column, value);
  if (IsTime(column.type)) {
    if (const size_t t = text.find('T'); t != std::string::npos) text[t] = ' ';
    if (text.ends_with('Z')) text.pop_back();
  }
  if (column.type != ColumnType::kDouble && IsLongWholeNumber(text)) return "=\"" + text + "\"";
  // Excel does not take "-inf" for a number.
  const bool is_number =
      IsNumber(column.type) && text.find_first_of("0123456789") != std::string::npos;
  if (!is_number && text.find_first_of("=+-@\t\r") == 0) text.insert(0, 1, '\'');
  return text;
}

void AppendJsonString(std::string_view text, std::string& out) {
  out += boost::json::serialize(boost::json::string_view(text.data(), text.size()));
}

void AppendJson(const Column& column, const Value& value, std::string& out) {
  if (std::holds_alternative<std::monostate>(value)) {
    out += "null";
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    if (column.type == ColumnType::kJson || column.type == ColumnType::kNumber) {
      out += *text;
    } else {
      AppendJsonString(*text, out);
    }
  } else if (const auto* real = std::get_if<double>(&value)) {
    out += std::isfinite(*real) ? fmt::format("{}", *real) : "null";
  } else if (IsTime(column.type)) {
    AppendJsonString(PlainText(column, value), out);
  } else if (column.type == ColumnType::kInteger && IsOid(column.name)) {
    fmt::format_to(std::back_inserter(out), "\"{}\"", std::get<int64_t>(value));
  } else {
    out += PlainText(column, value);
  }
}

}  // namespace sightline
