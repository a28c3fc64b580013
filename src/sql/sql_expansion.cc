#include "sql/sql_expansion.h"

#include <algorithm>
#include <boost/json/value.hpp>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sql/calendar.h"
#include "sql/sql_bounds.h"
#include "sql/sql_functions.h"

namespace sightline {
namespace {

namespace json = boost::json;

// item_count_increments, the widest view, has 14 columns; json_tree has 9.
constexpr uint64_t kTableColumns = 16;

uint64_t Sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
uint64_t Product(uint64_t a, uint64_t b) {
  return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

const json::value& Member(const json::object& object, std::string_view key) {
  static const json::value none;
  const json::value* value = object.if_contains(key);
  return value == nullptr ? none : *value;
}

size_t SizeOf(const json::value& value) { return value.is_array() ? value.get_array().size() : 0; }

// Visits every node once. Expressions are visited for their subqueries, and for their '*'.
class Expander {
 public:
  // What a node adds to the query around it.
  struct Growth {
    uint64_t tables = 0;
    uint64_t columns = 0;      // of a table, or of an item of a SELECT list
    uint64_t expressions = 0;  // nodes, each as often as DuckDB plans it
  };

  Growth Query(const json::object& node) {
    const size_t outer_names = names_.size();
    Growth growth;
    const json::value& ctes = Member(node, "cte_map");
    if (ctes.is_object()) {
      const json::value& map = Member(ctes.get_object(), "map");
      for (size_t i = 0; i < SizeOf(map); ++i) {
        if (map.get_array()[i].is_object()) Define(map.get_array()[i].get_object());
      }
    }
    const std::string_view type = TextOf(node, "type");
    if (type == "SELECT_NODE") {
      growth = Select(node);
    } else {
      growth = TwoQueries(node, type);
    }
    // The query of a name that is not used is planned, too.
    for (size_t i = outer_names; i < names_.size(); ++i) {
      if (names_[i].is_used) continue;
      names_[i].growth.columns = 0;
      Add(growth, names_[i].growth);
    }
    names_.resize(outer_names);
    columns_max_ = std::max(columns_max_, growth.columns);
    return growth;
  }
  uint64_t columns_max() const { return columns_max_; }
  uint64_t written() const { return written_; }

 private:
  // A WITH query. Inner names hide outer ones, so the last of a name is the one that is meant.
  struct Name {
    std::string name;
    Growth growth;
    bool is_used = false;
  };

  void Define(const json::object& entry) {
    const json::value& value = Member(entry, "value");
    if (!value.is_object()) return;
    const json::value& query = Member(value.get_object(), "query");
    Name name{.name = Lower(TextOf(entry, "key"))};
    if (query.is_object()) {
      const json::value& node = Member(query.get_object(), "node");
      if (node.is_object()) name.growth = Query(node.get_object());
    }
    // With new names for its columns it has at least as many.
    name.growth.columns = std::max<uint64_t>(name.growth.columns, 1);
    names_.push_back(std::move(name));
  }

  // UNION and its siblings, and WITH RECURSIVE, whose second half sees the name of the whole.
  Growth TwoQueries(const json::object& node, std::string_view type) {
    const bool is_recursive = type == "RECURSIVE_CTE_NODE";
    const Growth left = Visit(Member(node, "left"));
    if (is_recursive) {
      names_.push_back({.name = Lower(TextOf(node, "cte_name")),
                        .growth = {.tables = 1, .columns = left.columns, .expressions = 0},
                        .is_used = true});
    }
    const Growth right = Visit(Member(node, "right"));
    if (is_recursive) names_.pop_back();
    const uint64_t columns = TextOf(node, "setop_type") == "UNION_BY_NAME"
                                 ? Sum(left.columns, right.columns)
                                 : std::max(left.columns, right.columns);
    Growth growth = left;
    Add(growth, right);
    Add(growth, Visit(Member(node, "modifiers")));
    growth.columns = columns;
    return growth;
  }

  Growth Select(const json::object& node) {
    std::map<std::string, uint64_t> outer_sources;
    outer_sources.swap(sources_);
    Growth growth = Visit(Member(node, "from_table"));
    const uint64_t outer_columns = std::exchange(all_columns_, growth.columns);
    growth.columns = 0;
    aliases_.emplace_back();
    const json::value& list = Member(node, "select_list");
    for (size_t i = 0; i < SizeOf(list); ++i) Add(growth, Item(list.get_array()[i]));
    for (const auto& child : node) {
      if (child.key() == "from_table" || child.key() == "cte_map" || child.key() == "select_list")
        continue;
      Growth clause = Visit(child.value());
      clause.columns = 0;
      Add(growth, clause);
    }
    aliases_.pop_back();
    all_columns_ = outer_columns;
    sources_.swap(outer_sources);
    return growth;
  }

  // An item of a SELECT list. What follows it may use its alias, in whose place DuckDB puts it.
  Growth Item(const json::value& value) {
    Growth item = Visit(value);
    item.columns = std::max<uint64_t>(item.columns, 1);
    if (value.is_object() && !TextOf(value.get_object(), "alias").empty()) {
      aliases_.back()[Lower(TextOf(value.get_object(), "alias"))] = item.expressions;
    }
    return item;
  }

  Growth Visit(const json::value& value) {
    Growth growth;
    if (const json::array* array = value.if_array()) {
      for (const json::value& child : *array) Add(growth, Visit(child));
    } else if (const json::object* object = value.if_object()) {
      growth = Node(*object);
    }
    return growth;
  }

  Growth Node(const json::object& node) {
    const std::string_view type = TextOf(node, "type");
    if (type == "SELECT_NODE" || type == "SET_OPERATION_NODE" || type == "RECURSIVE_CTE_NODE") {
      return Query(node);
    }
    if (type == "BASE_TABLE") return Named(node);
    Growth growth;
    for (const auto& child : node) Add(growth, Visit(child.value()));
    if (node.contains("class")) return Expression(node, growth);
    if (type == "TABLE_FUNCTION" || type == "SHOW_REF") {
      growth.tables = Sum(growth.tables, 1);
      growth.columns = kTableColumns;
    } else if (type == "EXPRESSION_LIST") {
      const json::value& rows = Member(node, "values");
      growth.columns = SizeOf(rows) == 0 ? 0 : SizeOf(rows.get_array()[0]);
    } else if (type == "PIVOT") {
      growth.columns = Sum(growth.columns, PivotColumns(node));
    } else if (type != "SUBQUERY") {
      return growth;
    }
    if (!TextOf(node, "alias").empty()) AddSource(Lower(TextOf(node, "alias")), growth.columns);
    return growth;
  }

  // An expression whose parts have grown to `growth`.
  Growth Expression(const json::object& node, Growth growth) {
    const std::string_view type = TextOf(node, "type");
    ++written_;
    growth.expressions = Sum(growth.expressions, 1);
    // The columns of a subquery in an expression stay there.
    if (type == "SUBQUERY") growth.columns = 0;
    if (type == "STAR") {
      growth.columns = Sum(growth.columns, StarColumns(node));
      growth.expressions = Sum(growth.expressions, growth.columns);
    } else if (type == "COLUMN_REF") {
      growth.expressions = Sum(growth.expressions, AliasExpressions(node));
    } else if (type == "FUNCTION") {
      growth.expressions =
          Product(growth.expressions, CopiesOfArguments(TextOf(node, "function_name")));
    }
    return growth;
  }

  // The size of the expression that DuckDB may put in the place of a name; 0 for a column.
  uint64_t AliasExpressions(const json::object& reference) const {
    const json::value& names = Member(reference, "column_names");
    if (SizeOf(names) == 0 || !names.get_array().back().is_string()) return 0;
    const std::string name = Lower(names.get_array().back().get_string());
    for (auto aliases = aliases_.rbegin(); aliases != aliases_.rend(); ++aliases) {
      const auto known = aliases->find(name);
      if (known != aliases->end()) return known->second;
    }
    return 0;
  }

  // Of two tables with one name, the wider one.
  void AddSource(const std::string& name, uint64_t columns) {
    uint64_t& known = sources_[name];
    known = std::max(known, columns);
  }
  static void Add(Growth& growth, const Growth& more) {
    growth.tables = Sum(growth.tables, more.tables);
    growth.columns = Sum(growth.columns, more.columns);
    growth.expressions = Sum(growth.expressions, more.expressions);
  }

  Growth Named(const json::object& table) {
    const std::string name = Lower(TextOf(table, "table_name"));
    const std::string_view alias = TextOf(table, "alias");
    Growth growth{.tables = 1, .columns = kTableColumns, .expressions = 0};
    const auto meant = std::find_if(names_.rbegin(), names_.rend(),
                                    [&](const Name& known) { return known.name == name; });
    if (meant != names_.rend() && TextOf(table, "schema_name") != "main") {
      meant->is_used = true;
      growth.columns = meant->growth.columns;
      growth.tables = std::max<uint64_t>(meant->growth.tables, 1);
      growth.expressions = meant->growth.expressions;
    }
    AddSource(alias.empty() ? name : Lower(alias), growth.columns);
    return growth;
  }

  // 't.*' has the columns of t, '*' and COLUMNS(...) those of all tables.
  uint64_t StarColumns(const json::object& star) const {
    const std::string name = Lower(TextOf(star, "relation_name"));
    const auto source = sources_.find(name);
    return std::max<uint64_t>(source == sources_.end() ? all_columns_ : source->second, 1);
  }

  // One column for each aggregate and each combination of the values.
  static uint64_t PivotColumns(const json::object& pivot) {
    uint64_t combinations = 1;
    const json::value& pivots = Member(pivot, "pivots");
    for (size_t i = 0; i < SizeOf(pivots); ++i) {
      const json::value& part = pivots.get_array()[i];
      if (!part.is_object()) continue;
      combinations =
          Product(combinations, std::max<size_t>(SizeOf(Member(part.get_object(), "entries")), 1));
    }
    return Product(combinations, std::max<size_t>(SizeOf(Member(pivot, "aggregates")), 1));
  }

  std::vector<Name> names_;
  // Of the SELECT that is visited: the columns of the tables in FROM, by the name that may stand
  // before '.*', and of all of them together.
  std::map<std::string, uint64_t> sources_;
  uint64_t all_columns_ = 0;
  // Of the SELECT lists around the visited node: the sizes of the expressions with an alias.
  std::vector<std::map<std::string, uint64_t>> aliases_;
  uint64_t columns_max_ = 0;
  uint64_t written_ = 0;  // expressions that were visited
};

}  // namespace

SqlExpansion ExpansionOf(const json::object& query) {
  Expander expander;
  const auto growth = expander.Query(query);
  return {.tables = growth.tables,
          .columns = expander.columns_max(),
          .copies = growth.expressions - std::min(growth.expressions, expander.written())};
}

}  // namespace sightline
