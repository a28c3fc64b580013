#include "sql/sql_bounds.h"

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

// Appends the tables of a tree of joins.
void Leaves(const json::object& from, std::vector<const json::object*>& tables) {
  if (TextOf(from, "type") == "JOIN") {
    for (const char* side : {"left", "right"}) {
      if (const json::object* child = Child(from, side)) Leaves(*child, tables);
    }
  } else {
    tables.push_back(&from);
  }
}

// A comparison `column op constants`. BETWEEN and IN have several constants.
struct Comparison {
  std::string table, column, op;
  std::vector<const json::object*> constants;
};

// The constant of an expression, perhaps inside casts to a date or time; nullptr: it is not
// constant.
const json::object* Constant(const json::object& expression) {
  if (TextOf(expression, "class") == "CAST") {
    const json::object* type = Child(expression, "cast_type");
    const json::object* child = Child(expression, "child");
    const std::string_view id = type == nullptr ? std::string_view() : TextOf(*type, "id");
    if (child == nullptr ||
        (id != "DATE" && id != "TIMESTAMP" && id != "TIMESTAMP WITH TIME ZONE")) {
      return nullptr;
    }
    return Constant(*child);
  }
  if (TextOf(expression, "type") != "VALUE_CONSTANT") return nullptr;
  return Child(expression, "value");
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

std::optional<Comparison> ComparisonOf(const json::object& expression) {
  Comparison comparison{.op = std::string(TextOf(expression, "type"))};
  auto add = [&](const json::object* operand) {
    const json::object* constant = operand == nullptr ? nullptr : Constant(*operand);
    comparison.constants.push_back(constant);
    return constant != nullptr;
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

std::optional<LocationId> LocationOf(const json::object& constant) {
  const json::value* value = constant.if_contains("value");
  if (value == nullptr) return {};
  if (value->is_int64()) return LocationId{value->get_int64()};
  if (!value->is_string()) return {};
  const json::string& text = value->get_string();
  int64_t oid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), oid);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return LocationId{oid};
}

// The days in which a constant may lie, [first, end): one day, or three where the text may end with
// a time zone, which can move it by a day either way.
std::optional<std::pair<Day, Day>> DaysOf(const json::object& constant) {
  const std::string_view text = TextOf(constant, "value");
  const std::optional<Day> day = ParseDay(text.substr(0, 10));
  if (!day) return {};
  if (text.size() > 10 && text[10] != ' ' && text[10] != 'T') return {};
  const int64_t slack = text.size() > 19 ? 1 : 0;
  return std::pair{Day{day->v - slack}, Day{day->v + 1 + slack}};
}

// The bounds are whole days, so a comparison with a time keeps all of that time's day.
std::optional<ReadBounds> DayBounds(const Comparison& comparison) {
  ReadBounds bounds;
  std::vector<std::pair<Day, Day>> days;
  for (const json::object* constant : comparison.constants) {
    const auto of = DaysOf(*constant);
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
  std::vector<const json::object*> tables;
  Leaves(*from, tables);
  std::vector<Comparison> conditions;
  Conditions(*where, conditions);
  for (const json::object* table : tables) {
    if (TextOf(*table, "type") != "BASE_TABLE") continue;
    // With renamed columns, a name in the clause need not mean the table's column of that name.
    const json::value* renamed = table->if_contains("column_name_alias");
    if (renamed == nullptr || !renamed->is_array() || !renamed->get_array().empty()) continue;
    const std::string_view alias = TextOf(*table, "alias");
    const std::string name = Lower(alias.empty() ? TextOf(*table, "table_name") : alias);
    for (const Comparison& comparison : conditions) {
      // A column without a table name certainly belongs to this table only if there is no other.
      if (comparison.table.empty() ? tables.size() > 1 : comparison.table != name) continue;
      if (const auto narrower = BoundsOfOne(comparison)) bounds[table].Narrow(*narrower);
    }
  }
  return bounds;
}

}  // namespace sightline
