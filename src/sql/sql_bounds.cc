#include "sql/sql_bounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/value.hpp>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "sql/calendar.h"

namespace sightline {
namespace {

namespace json = boost::json;

const json::object* Child(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr ? nullptr : value->if_object();
}

// Whether `object` has something under `key`: null, false and empty lists are nothing.
bool Has(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return false;
  return !value->is_array() || !value->get_array().empty();
}

// A table, subquery or function in FROM.
struct Source {
  const json::object* node;
  std::string name;
  // Every row of FROM that passes a condition on this source comes from rows of the source that
  // pass it, and leaving out its other rows changes none of these.
  bool may_skip;
};

std::string NameOf(const json::object& source) {
  if (const std::string_view alias = TextOf(source, "alias"); !alias.empty()) return Lower(alias);
  const json::object* function = Child(source, "function");
  if (function != nullptr) return Lower(TextOf(*function, "function_name"));
  return Lower(TextOf(source, "table_name"));
}

// Appends the sources of a tree of joins. A join of any kind makes a row from one row of each side,
// or from one row of one side and nulls, which no comparison accepts. There are three exceptions.
// An ASOF JOIN chooses a row of its right side, and a positional join a row of either side, by
// looking at the others. The right side of SEMI and ANTI is not visible in WHERE: what has its name
// there is another table.
void Sources(const json::object& from, bool may_skip, std::vector<Source>& sources) {
  const bool is_plain = !Has(from, "sample");  // a sample depends on all rows
  if (TextOf(from, "type") != "JOIN" || !TextOf(from, "alias").empty()) {
    // With renamed columns, a name in the clause need not mean the table's column of that name.
    sources.push_back(
        {&from, NameOf(from), may_skip && is_plain && !Has(from, "column_name_alias")});
    return;
  }
  const std::string_view how = TextOf(from, "ref_type"), kind = TextOf(from, "join_type");
  const bool is_asof = how == "ASOF";
  const bool is_known = is_asof || how == "REGULAR" || how == "NATURAL" || how == "CROSS";
  const bool is_half = kind == "SEMI" || kind == "ANTI";
  const bool is_whole = kind == "INNER" || kind == "LEFT" || kind == "RIGHT" || kind == "FULL";
  const bool left = may_skip && is_plain && is_known && (is_half || is_whole);
  if (const json::object* child = Child(from, "left")) Sources(*child, left, sources);
  const bool right = left && !is_asof && !is_half;
  if (const json::object* child = Child(from, "right")) Sources(*child, right, sources);
}

// A comparison `column op constants`. BETWEEN and IN have several constants.
struct Comparison {
  std::string table, column, op;
  std::vector<const json::object*> constants;
};

bool IsConstant(const json::object& expression, std::string_view type) {
  const json::object* value = Child(expression, "value");
  if (TextOf(expression, "type") != "VALUE_CONSTANT" || value == nullptr) return false;
  const json::object* known = Child(*value, "type");
  return known != nullptr && TextOf(*known, "id") == type;
}

const json::value* ValueOf(const json::object& constant) {
  const json::object* value = Child(constant, "value");
  return value == nullptr ? nullptr : value->if_contains("value");
}

// The text of a constant; none: it is not a text.
std::optional<std::string_view> Text(const json::object& expression) {
  const json::value* value = ValueOf(expression);
  if (!IsConstant(expression, "VARCHAR") || value == nullptr || !value->is_string()) return {};
  return std::string_view(value->get_string());
}

bool SetColumn(const json::object& expression, Comparison& comparison) {
  if (TextOf(expression, "type") != "COLUMN_REF") return false;
  const json::value* names = expression.if_contains("column_names");
  if (names == nullptr || !names->is_array()) return false;
  const json::array& parts = names->get_array();
  if (parts.empty() || parts.size() > 2) return false;
  for (const json::value& part : parts) {
    if (!part.is_string()) return false;
  }
  comparison.column = Lower(std::string_view(parts.back().get_string()));
  if (parts.size() == 2) comparison.table = Lower(std::string_view(parts[0].get_string()));
  return true;
}

// The operator of `b op a` that means the same as `a op b`.
std::string Mirrored(std::string_view op) {
  if (op == "COMPARE_LESSTHAN") return "COMPARE_GREATERTHAN";
  if (op == "COMPARE_LESSTHANOREQUALTO") return "COMPARE_GREATERTHANOREQUALTO";
  if (op == "COMPARE_GREATERTHAN") return "COMPARE_LESSTHAN";
  if (op == "COMPARE_GREATERTHANOREQUALTO") return "COMPARE_LESSTHANOREQUALTO";
  return std::string(op);
}

// Whether its operands are constants, only the types of the columns will say.
std::optional<Comparison> ComparisonOf(const json::object& expression) {
  Comparison comparison{.op = std::string(TextOf(expression, "type"))};
  auto add = [&](const json::object* operand) {
    comparison.constants.push_back(operand);
    return operand != nullptr;
  };
  if (comparison.op == "COMPARE_BETWEEN") {
    const json::object* input = Child(expression, "input");
    const bool known = input != nullptr && SetColumn(*input, comparison) &&
                       add(Child(expression, "lower")) && add(Child(expression, "upper"));
    return known ? std::optional(comparison) : std::nullopt;
  }
  if (comparison.op == "COMPARE_IN") {
    const json::value* children = expression.if_contains("children");
    if (children == nullptr || !children->is_array() || children->get_array().empty()) return {};
    bool first = true;
    for (const json::value& child : children->get_array()) {
      if (!child.is_object()) return {};
      if (!(first ? SetColumn(child.get_object(), comparison) : add(&child.get_object())))
        return {};
      first = false;
    }
    return comparison;
  }
  if (TextOf(expression, "class") != "COMPARISON") return {};
  const json::object* left = Child(expression, "left");
  const json::object* right = Child(expression, "right");
  if (left == nullptr || right == nullptr) return {};
  if (SetColumn(*left, comparison) && add(right)) return comparison;
  comparison = {.op = Mirrored(comparison.op)};
  if (SetColumn(*right, comparison) && add(left)) return comparison;
  return {};
}

// A whole number, or its digits as DuckDB would write them. What else DuckDB makes of a text or of
// a fraction ("7.0", " 7", 7e0) is its own.
std::optional<LocationId> LocationOf(const json::object& constant) {
  for (const char* type : {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}) {
    const json::value* value = ValueOf(constant);
    if (IsConstant(constant, type) && value != nullptr && value->is_int64())
      return LocationId{value->get_int64()};
  }
  const std::optional<std::string_view> text = Text(constant);
  if (!text) return {};
  int64_t oid = 0;
  std::from_chars(text->data(), text->data() + text->size(), oid);
  return fmt::format("{}", oid) == *text ? std::optional(LocationId{oid}) : std::nullopt;
}

// The days in which a constant may lie, [first, end). It is an exact ISO text, plain or in one cast
// (TIMESTAMP '2026-01-05 10:03:00').
std::optional<std::pair<Day, Day>> DaysOf(const json::object& constant, bool is_date) {
  if (TextOf(constant, "class") != "CAST") {
    const std::optional<std::string_view> text = Text(constant);
    return text && (!is_date || text->size() == 10) ? ParseDays(*text) : std::nullopt;
  }
  const json::object* type = Child(constant, "cast_type");
  const json::object* child = Child(constant, "child");
  const std::optional<std::string_view> text = child == nullptr ? std::nullopt : Text(*child);
  if (type == nullptr || !text) return {};
  const std::string_view id = TextOf(*type, "id");
  if (id == "DATE") return text->size() == 10 ? ParseDays(*text) : std::nullopt;
  const bool is_time = id == "TIMESTAMP" || id == "TIMESTAMP WITH TIME ZONE";
  return is_time && !is_date ? ParseDays(*text) : std::nullopt;
}

// The bounds are whole days, so a comparison with a time keeps all of that time's day.
std::optional<ReadBounds> DayBounds(const Comparison& comparison) {
  ReadBounds bounds;
  std::vector<std::pair<Day, Day>> days;
  for (const json::object* constant : comparison.constants) {
    const auto of = DaysOf(*constant, comparison.column == "date");
    if (!of) return {};
    days.push_back(*of);
  }
  if (days.empty()) return {};
  const std::string& op = comparison.op;
  if (op == "COMPARE_EQUAL" || op == "COMPARE_IN") {
    bounds.first_day = kDaysEnd;  // an empty range, which each constant widens
    bounds.end_day = kFirstDay;
    for (const auto& [first, end] : days) {
      bounds.first_day = std::min(bounds.first_day, first);
      bounds.end_day = std::max(bounds.end_day, end);
    }
  } else if (op == "COMPARE_GREATERTHAN" || op == "COMPARE_GREATERTHANOREQUALTO") {
    bounds.first_day = days[0].first;
  } else if (op == "COMPARE_LESSTHAN" || op == "COMPARE_LESSTHANOREQUALTO") {
    bounds.end_day = days[0].second;
  } else if (op == "COMPARE_BETWEEN") {
    bounds.first_day = days[0].first;
    bounds.end_day = days[1].second;
  } else {
    return {};
  }
  return bounds;
}

std::optional<ReadBounds> BoundsOfOne(const Comparison& comparison) {
  if (comparison.column == "date" || comparison.column == "window_start") {
    return DayBounds(comparison);
  }
  if (comparison.column == "append_hour") {
    const std::optional<ReadBounds> days = DayBounds(comparison);
    if (!days) return {};
    return ReadBounds{.first_append = {days->first_day.v * kDayMs},
                      .end_append = {days->end_day.v * kDayMs}};
  }
  if (comparison.column != "geographical_location_oid" ||
      (comparison.op != "COMPARE_EQUAL" && comparison.op != "COMPARE_IN")) {
    return {};
  }
  ReadBounds bounds{.locations = std::set<LocationId>()};
  for (const json::object* constant : comparison.constants) {
    const std::optional<LocationId> location = LocationOf(*constant);
    if (!location) return {};
    bounds.locations->insert(*location);
  }
  return bounds;
}

// Appends the comparisons that must all hold. Whatever else the clause contains (OR, NOT,
// functions) is skipped: that only leaves the bounds wider.
void Conditions(const json::object& expression, std::vector<Comparison>& found) {
  if (TextOf(expression, "type") == "CONJUNCTION_AND") {
    const json::value* children = expression.if_contains("children");
    if (children == nullptr || !children->is_array()) return;
    for (const json::value& child : children->get_array()) {
      if (child.is_object()) Conditions(child.get_object(), found);
    }
  } else if (auto comparison = ComparisonOf(expression)) {
    found.push_back(std::move(*comparison));
  }
}

}  // namespace

std::string_view TextOf(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

std::map<const json::object*, ReadBounds> BoundsOf(const json::object& select) {
  std::map<const json::object*, ReadBounds> bounds;
  const json::object* from = Child(select, "from_table");
  const json::object* where = Child(select, "where_clause");
  if (from == nullptr || where == nullptr) return bounds;
  std::vector<Source> sources;
  Sources(*from, !Has(select, "sample"), sources);
  std::vector<Comparison> conditions;
  Conditions(*where, conditions);
  for (const Source& source : sources) {
    if (!source.may_skip || TextOf(*source.node, "type") != "BASE_TABLE") continue;
    // DuckDB lets two tables have one name, as long as no column is of both.
    const bool is_alone = std::ranges::count(sources, source.name, &Source::name) == 1;
    for (const Comparison& comparison : conditions) {
      // A column without a table name certainly belongs to this table only if there is no other.
      const bool is_its_own = comparison.table.empty()
                                  ? sources.size() == 1
                                  : is_alone && comparison.table == source.name;
      if (!is_its_own) continue;
      if (const auto narrower = BoundsOfOne(comparison)) bounds[source.node].Narrow(*narrower);
    }
  }
  return bounds;
}

}  // namespace sightline
