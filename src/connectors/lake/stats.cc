// The statistics of data files, which let a reader skip files.
#include <arrow/api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "connectors/lake/data_file.h"
#include "connectors/lake/json_text.h"

namespace sightline::lake {
namespace {

struct Range {
  std::string min, max;  // as JSON; empty: there are none
};

// The least and the greatest value of an array type with GetView().
template <typename Array, typename Value>
std::optional<std::pair<Value, Value>> Bounds(const arrow::ChunkedArray& column) {
  std::optional<std::pair<Value, Value>> bounds;
  for (const auto& chunk : column.chunks()) {
    const auto& array = static_cast<const Array&>(*chunk);
    for (int64_t i = 0; i < array.length(); ++i) {
      if (array.IsNull(i)) continue;
      const Value value = array.GetView(i);
      if (!bounds.has_value()) bounds = {value, value};
      bounds->first = std::min(bounds->first, value);
      bounds->second = std::max(bounds->second, value);
    }
  }
  return bounds;
}

int64_t FloorToMs(int64_t us) { return us / 1000 - (us % 1000 < 0 ? 1 : 0); }

template <typename Array, typename Value, typename Text>
Range RangeAs(const arrow::ChunkedArray& column, const Text& text) {
  const auto bounds = Bounds<Array, Value>(column);
  if (!bounds.has_value()) return {};
  return {text(bounds->first), text(bounds->second)};
}

Range RangeOf(const arrow::ChunkedArray& column) {
  const auto number = [](auto value) { return fmt::format("{}", value); };
  switch (column.type()->id()) {
    case arrow::Type::INT64:
      return RangeAs<arrow::Int64Array, int64_t>(column, number);
    case arrow::Type::INT32:
      return RangeAs<arrow::Int32Array, int32_t>(column, number);
    case arrow::Type::STRING:
      return RangeAs<arrow::StringArray, std::string_view>(column, Quoted);
    case arrow::Type::TIMESTAMP: {
      // Readers compare milliseconds. Rounding the greatest time down would hide rows from them.
      const auto us = Bounds<arrow::TimestampArray, int64_t>(column);
      if (!us.has_value()) return {};
      return {Quoted(TimeText(FloorToMs(us->first))),
              Quoted(TimeText(FloorToMs(us->second + 999)))};
    }
    default:
      return {};  // booleans and doubles: nobody searches for them by range
  }
}

}  // namespace

std::string StatsJson(const arrow::Table& table) {
  std::string least, greatest, nulls;
  const auto add = [](std::string& to, const std::string& name, const std::string& value) {
    to += fmt::format("{}{}:{}", to.empty() ? "" : ",", Quoted(name), value);
  };
  for (int i = 0; i < table.num_columns(); ++i) {
    const std::string& name = table.field(i)->name();
    const arrow::ChunkedArray& column = *table.column(i);
    add(nulls, name, fmt::format("{}", column.null_count()));
    const Range range = RangeOf(column);
    if (range.min.empty()) continue;
    add(least, name, range.min);
    add(greatest, name, range.max);
  }
  return fmt::format(
      R"({{"numRecords":{},"minValues":{{{}}},"maxValues":{{{}}},"nullCount":{{{}}}}})",
      table.num_rows(), least, greatest, nulls);
}

}  // namespace sightline::lake
