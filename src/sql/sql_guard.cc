#include "sql/sql_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <optional>
#include <vector>

#include "base/utf8.h"
#include "sql/calendar.h"
#include "sql/sql_bounds.h"
#include "sql/sql_errors.h"
#include "sql/sql_expansion.h"
#include "sql/sql_functions.h"
#include "sql/sql_nodes.h"

namespace sightline {
namespace {

namespace json = boost::json;

// DuckDB's own tables begin with these, and so do the ones that Sightline adds.
constexpr std::array<std::string_view, 6> kPrefixesReserved = {"pg_",   "duckdb_",  "pragma_",
                                                               "read_", "parquet_", "sightline_"};

// DuckDB's schemas and catalogs but `main`, which stands for ours. Any other name before a function
// is that of a column: x.upper() is upper(x).
constexpr std::array<std::string_view, 5> kSchemas = {"information_schema", "memory", "pg_catalog",
                                                      "system", "temp"};

// A statement that DuckDB would plan for more than a second grows beyond one of these.
constexpr uint64_t kPlannedTablesMax = 2'000;
constexpr uint64_t kPlannedColumnsMax = 10'000;
constexpr uint64_t kPlannedCopiesMax = 20'000;

// DuckDB recurses by the wildcards of a JSON path, and 100,000 of them end the process.
constexpr size_t kPathWildcardsMax = 100;

template <size_t N>
bool IsIn(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The refusal of `node`, with its position where the tree has one. DuckDB counts bytes; people
// count lines and columns.
Status Refused(std::string_view sql, const json::object& node, std::string_view what) {
  const json::value* at = node.if_contains("query_location");
  uint64_t offset = UINT64_MAX;
  if (at != nullptr && at->is_int64()) offset = static_cast<uint64_t>(at->get_int64());
  if (offset >= sql.size()) return Status::Stop(std::string(what));
  const std::string_view before = sql.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t column = offset - (before.rfind('\n') + 1) + 1;
  return Status::Stop(fmt::format("line {}, column {}: {}", line, column, what));
}

const json::value& Argument(const json::object& call, size_t i) {
  static const json::value none;
  const json::value* children = call.if_contains("children");
  if (children == nullptr || !children->is_array()) return none;
  return i < children->get_array().size() ? children->get_array()[i] : none;
}

// The text of a constant; none: it is something else.
std::optional<std::string_view> ConstantText(const json::value& expression) {
  if (!expression.is_object() || TextOf(expression.get_object(), "class") != "CONSTANT") return {};
  const json::value* value = expression.get_object().if_contains("value");
  if (value == nullptr || !value->is_object()) return {};
  const json::value* text = value->get_object().if_contains("value");
  if (text == nullptr || !text->is_string()) return {};
  return std::string_view(text->get_string());
}

// Where a WITH query is not visible, DuckDB may read its name as a table, and a name like 'x.csv'
// as a file. A plain name cannot be a file.
bool IsPlainName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c == '_' || c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
  });
}

// Visits every node of the tree and fails on the first that is not allowed.
class Walk {
 public:
  Walk(std::string_view sql, const std::set<std::string>& tables,
       const std::set<std::string>& catalog)
      : sql_(sql), tables_(tables), catalog_(catalog) {}

  Status Visit(const json::value& value) {
    if (const json::array* array = value.if_array()) {
      for (const json::value& child : *array) RETURN_IF_ERROR(Visit(child));
      return Status::Ok();
    }
    const json::object* object = value.if_object();
    if (object == nullptr) return Status::Ok();
    RETURN_IF_ERROR(VisitNode(*object));
    const bool is_select = TextOf(*object, "type") == "SELECT_NODE";
    // Before the aliases: those of the SELECT list are not visible in its tables.
    for (const char* key : {"cte_map", "from_table"}) {
      const json::value* child = is_select ? object->if_contains(key) : nullptr;
      if (child != nullptr) RETURN_IF_ERROR(Visit(*child));
    }
    if (is_select) aliases_.push_back(AliasesOf(*object));
    for (const auto& child : *object) {
      if (is_select && (child.key() == "cte_map" || child.key() == "from_table")) continue;
      RETURN_IF_ERROR(Visit(child.value()));
    }
    if (is_select) aliases_.pop_back();
    return Status::Ok();
  }
  CheckedSql Take() { return std::move(checked_); }

  // Collects the names of all WITH queries. It runs before Visit(), because the tree may use a name
  // before the node that defines it.
  Status CollectNames(const json::value& value) {
    if (const json::array* array = value.if_array()) {
      for (const json::value& child : *array) RETURN_IF_ERROR(CollectNames(child));
      return Status::Ok();
    }
    const json::object* object = value.if_object();
    if (object == nullptr) return Status::Ok();
    if (const json::value* ctes = object->if_contains("cte_map"); ctes && ctes->is_object()) {
      const json::value* map = ctes->get_object().if_contains("map");
      if (map == nullptr || !map->is_array()) return Status::Stop("this WITH is not supported");
      for (const json::value& entry : map->get_array()) {
        if (!entry.is_object()) return Status::Stop("this WITH is not supported");
        // names_ knows no scopes. Where the WITH query is not visible, the same name would reach
        // DuckDB's own view.
        const std::string name = Lower(TextOf(entry.get_object(), "key"));
        if (!IsPlainName(name) || catalog_.contains(name) || IsReserved(name)) {
          return Status::Stop(fmt::format(
              "'{}' cannot be the name of a WITH query: use only letters, digits and '_', and "
              "none of DuckDB's own names",
              name));
        }
        names_.insert(name);
      }
    }
    for (const auto& child : *object) RETURN_IF_ERROR(CollectNames(child.value()));
    return Status::Ok();
  }

 private:
  static bool IsReserved(std::string_view name) {
    return std::any_of(kPrefixesReserved.begin(), kPrefixesReserved.end(),
                       [&](std::string_view prefix) { return name.starts_with(prefix); });
  }

  // Subqueries need no check of their own: Visit() comes to their nodes, too.
  Status VisitNode(const json::object& node) {
    const std::string_view type = TextOf(node, "type");
    if (type == "VALUE_PARAMETER")
      return RefusedAt(node, "parameters ('?', '$1') have no value here: write the value");
    if (!IsNodeTypeAllowed(type)) {
      return RefusedAt(node, fmt::format("'{}' is not allowed in a question", type));
    }
    const std::string_view expression = TextOf(node, "class");
    if (!IsExpressionClassAllowed(expression)) {
      return RefusedAt(node, fmt::format("'{}' is not allowed in a question", expression));
    }
    if (HasPosition(node)) last_with_position_ = &node;
    if (type == "SELECT_NODE") {
      for (auto& [table, bounds] : BoundsOf(node)) bounds_[table] = bounds;
      return Status::Ok();
    }
    if (type == "BASE_TABLE") return VisitTable(node);
    if (type == "JOIN") return VisitJoin(node);
    if (type == "TABLE_FUNCTION") return VisitTableFunction(node);
    if (type == "SHOW_REF") return VisitShow(node);
    if (expression == "STAR") AllowLambda(node.if_contains("expr"));  // COLUMNS(c -> ...)
    if (expression == "LAMBDA") return VisitLambda(node);
    if (expression == "FUNCTION" || node.contains("function_name")) return VisitFunction(node);
    return VisitType(node);
  }

  // With an empty left side, DuckDB 1.5.6 never comes to an end of these.
  Status VisitJoin(const json::object& node) {
    const std::string_view join = TextOf(node, "join_type");
    if (TextOf(node, "ref_type") != "ASOF" || (join != "RIGHT" && join != "FULL"))
      return Status::Ok();
    return RefusedAt(node, fmt::format("ASOF {} JOIN is not allowed: use ASOF JOIN or ASOF LEFT "
                                       "JOIN, with the tables the other way round",
                                       join));
  }

  Status VisitTable(const json::object& node) {
    const std::string name = Lower(TextOf(node, "table_name"));
    const std::string schema = Lower(TextOf(node, "schema_name"));
    // In a WITH RECURSIVE ... USING KEY, recurring.x is all that x has found so far.
    const bool is_recurring = schema == "recurring" && names_.contains(name);
    if (!TextOf(node, "catalog_name").empty() ||
        (!schema.empty() && schema != "main" && !is_recurring)) {
      return Refused(sql_, node, fmt::format("write '{}' without a schema before it", name));
    }
    if (const json::value* at = node.if_contains("at_clause"); at != nullptr && !at->is_null()) {
      return Refused(sql_, node, "a question sees the state of now: write it without AT");
    }
    if (tables_.contains(name)) {
      const auto bounds = bounds_.find(&node);
      const ReadBounds known = bounds == bounds_.end() ? ReadBounds() : bounds->second;
      const auto [entry, is_new] = checked_.tables.emplace(name, known);
      // The statement reads the table twice, but there is one view for both.
      if (!is_new) entry->second.Widen(known);
      return Status::Ok();
    }
    if (names_.contains(name) && schema != "main") return Status::Ok();
    return Refused(
        sql_, node,
        fmt::format("there is no table '{}'; the tables are {}", name, fmt::join(tables_, ", ")));
  }

  Status VisitTableFunction(const json::object& node) {
    const json::value* function = node.if_contains("function");
    const std::string name = function != nullptr && function->is_object()
                                 ? Lower(TextOf(function->get_object(), "function_name"))
                                 : std::string();
    if (IsTableFunctionAllowed(name)) {
      RETURN_IF_ERROR(VisitSchema(function->get_object()));
      in_from_.insert(&function->get_object());
      return Status::Ok();
    }
    return Refused(sql_, node,
                   fmt::format("the function '{}' is not allowed in FROM; those that are: {}", name,
                               fmt::join(TableFunctions(), ", ")));
  }

  Status VisitShow(const json::object& node) {
    const json::value* query = node.if_contains("query");
    if (TextOf(node, "show_type") == "DESCRIBE" && TextOf(node, "table_name").empty() &&
        query != nullptr && query->is_object()) {
      return Status::Ok();  // Visit() checks the described query
    }
    return Refused(sql_, node,
                   fmt::format("SHOW and SUMMARIZE are not allowed; the tables are {}",
                               fmt::join(tables_, ", ")));
  }

  Status VisitFunction(const json::object& node) {
    if (in_from_.contains(&node)) return Status::Ok();
    const std::string_view name = TextOf(node, "function_name");
    if (!IsFunctionAllowed(name)) {
      return Refused(sql_, node,
                     fmt::format("the function '{}' is not allowed; the nearest that is: {}", name,
                                 NearestFunction(name)));
    }
    RETURN_IF_ERROR(VisitSchema(node));
    if (const json::value* state = node.if_contains("export_state");
        state != nullptr && state->is_bool() && state->get_bool()) {
      return Refused(sql_, node, "EXPORT_STATE is not allowed");
    }
    const size_t second = IsMethod(node) ? 0 : 1;
    if (TakesLambda(name)) AllowLambda(&Argument(node, second));
    if (TakesJsonPath(name)) return VisitPath(node, Argument(node, second));
    if (!TakesAggregateName(name)) return Status::Ok();
    // DuckDB looks the text up among its aggregates when the question runs.
    const auto aggregate = ConstantText(Argument(node, second));
    if (!aggregate) {
      return Refused(sql_, node,
                     fmt::format("'{}' needs the name of its aggregate as a constant", name));
    }
    if (IsFunctionAllowed(*aggregate)) return Status::Ok();
    return Refused(sql_, node,
                   fmt::format("the function '{}' is not allowed; the nearest that is: {}",
                               *aggregate, NearestFunction(*aggregate)));
  }

  // x.f(y) is f(x, y), and the tree has x where a schema would be.
  static bool IsMethod(const json::object& function) {
    const std::string schema = Lower(TextOf(function, "schema"));
    return !TextOf(function, "catalog").empty() || (!schema.empty() && schema != "main");
  }

  Status VisitSchema(const json::object& function) {
    const std::string schema = Lower(TextOf(function, "schema"));
    const std::string catalog = Lower(TextOf(function, "catalog"));
    if (!IsIn(kSchemas, schema) && !IsIn(kSchemas, catalog)) return Status::Ok();
    return Refused(sql_, function,
                   fmt::format("write '{}' without '{}' before it",
                               TextOf(function, "function_name"), catalog + schema));
  }

  void AllowLambda(const json::value* expression) {
    if (expression != nullptr && expression->is_object()) {
      lambdas_.insert(&expression->get_object());
    }
  }

  // 'a -> b' is a lambda for some functions, and reads JSON everywhere else.
  Status VisitLambda(const json::object& node) {
    const json::value* path = node.if_contains("expr");
    if (lambdas_.contains(&node) || path == nullptr) return Status::Ok();
    return VisitPath(node, *path);
  }

  // DuckDB follows wildcards only in a path that it can compute before it reads rows. So it must be
  // seen in the text how many there are, or the path must come from a row.
  Status VisitPath(const json::object& node, const json::value& path) {
    const std::optional<size_t> wildcards = Wildcards(path);
    if (!wildcards) {
      return Refused(sql_, node,
                     "a JSON path must be a constant, a column, or several of them joined by ||, "
                     "and no name that this SELECT gives");
    }
    if (*wildcards <= kPathWildcardsMax) return Status::Ok();
    return Refused(sql_, node,
                   fmt::format("a JSON path may have at most {} wildcards; this has {}",
                               kPathWildcardsMax, *wildcards));
  }

  // How many wildcards a JSON path may have; none: it cannot be known.
  std::optional<size_t> Wildcards(const json::value& path) const {
    if (path.is_null()) return 0;  // the call has no path
    if (!path.is_object()) return {};
    const json::object& node = path.get_object();
    const std::string_view expression = TextOf(node, "class");
    if (expression == "CONSTANT") {
      const std::string_view text = ConstantText(path).value_or("");
      size_t count = static_cast<size_t>(std::count(text.begin(), text.end(), '*'));
      for (size_t at = text.find(".."); at != std::string_view::npos; at = text.find("..", at + 1))
        ++count;
      return count;
    }
    if (expression == "COLUMN_REF") return IsColumn(node) ? std::optional<size_t>(0) : std::nullopt;
    if (expression == "CAST") {
      const json::value* child = node.if_contains("child");
      return child == nullptr ? std::nullopt : Wildcards(*child);
    }
    const std::string_view function = TextOf(node, "function_name");
    const json::value* children = node.if_contains("children");
    if ((function != "||" && function != "list_value") || children == nullptr ||
        !children->is_array()) {
      return {};
    }
    size_t sum = 0;
    for (const json::value& child : children->get_array()) {
      const std::optional<size_t> count = Wildcards(child);
      if (!count) return {};
      sum += *count;
    }
    return sum;
  }

  // Whether a name is a column for certain, whose values only the rows have. DuckDB puts the
  // expression behind an alias of the SELECT list in its place.
  bool IsColumn(const json::object& reference) const {
    const json::value* names = reference.if_contains("column_names");
    if (names == nullptr || !names->is_array() || names->get_array().empty()) return false;
    const json::value& last = names->get_array().back();
    const std::string name = last.is_string() ? Lower(last.get_string()) : std::string();
    return std::none_of(
        aliases_.begin(), aliases_.end(),
        [&](const std::set<std::string>& aliases) { return aliases.contains(name); });
  }

  static std::set<std::string> AliasesOf(const json::object& select) {
    std::set<std::string> aliases;
    const json::value* list = select.if_contains("select_list");
    if (list == nullptr || !list->is_array()) return aliases;
    for (const json::value& item : list->get_array()) {
      if (!item.is_object()) continue;
      const std::string_view alias = TextOf(item.get_object(), "alias");
      if (!alias.empty()) aliases.insert(Lower(alias));
    }
    return aliases;
  }

  // The type of a cast or a constant: {"id": ..., "type_info": {"name": ..., "alias": ...}}.
  Status VisitType(const json::object& node) {
    std::string_view name = TextOf(node, "id");
    if (TextOf(node, "type") == "UNBOUND_TYPE_INFO") {
      const std::string schema = Lower(TextOf(node, "schema"));
      if (!TextOf(node, "catalog").empty() || (!schema.empty() && schema != "main")) {
        return RefusedAt(node, fmt::format("write the type '{}' without a schema before it",
                                           TextOf(node, "name")));
      }
      name = TextOf(node, "name");
    } else if (TextOf(node, "type").ends_with("_TYPE_INFO")) {
      name = TextOf(node, "alias");
    } else if (name == "UNBOUND") {
      return Status::Ok();  // its type_info has the name
    }
    if (name.empty() || IsTypeAllowed(name)) return Status::Ok();
    return RefusedAt(node, fmt::format("the type '{}' is not allowed; the nearest that is: {}",
                                       name, NearestType(name)));
  }

  static bool HasPosition(const json::object& node) {
    const json::value* at = node.if_contains("query_location");
    return at != nullptr && at->is_int64();
  }

  // The refusal of a node; if it has no position, at the last one visited that has.
  Status RefusedAt(const json::object& node, std::string_view what) const {
    const bool is_other = !HasPosition(node) && last_with_position_ != nullptr;
    return Refused(sql_, is_other ? *last_with_position_ : node, what);
  }

  const std::string_view sql_;
  const std::set<std::string>& tables_;
  const std::set<std::string>& catalog_;
  std::set<std::string> names_;                 // of all WITH queries
  std::set<const json::object*> in_from_;       // calls that stand in FROM and are allowed there
  std::set<const json::object*> lambdas_;       // what may be a lambda, and else reads JSON
  std::vector<std::set<std::string>> aliases_;  // of the SELECT lists around the visited node
  const json::object* last_with_position_ = nullptr;
  std::map<const json::object*, ReadBounds> bounds_;
  CheckedSql checked_;
};

Status ParserError(std::string_view sql, const json::object& answer) {
  const std::string_view message = TextOf(answer, "error_message");
  if (message.starts_with("Only SELECT")) {
    return Status::Stop("only one SELECT is allowed (also WITH, VALUES, FROM, DESCRIBE)");
  }
  const std::string_view position = TextOf(answer, "position");
  int64_t offset = -1;
  std::from_chars(position.data(), position.data() + position.size(), offset);
  return Refused(sql, json::object{{"query_location", offset}}, InOurWords(message));
}

Status CheckExpansion(const json::value& statement) {
  const json::value* query =
      statement.is_object() ? statement.get_object().if_contains("node") : nullptr;
  if (query == nullptr || !query->is_object()) return Status::Stop("this is not a question");
  const SqlExpansion expansion = ExpansionOf(query->get_object());
  if (expansion.tables > kPlannedTablesMax) {
    return Status::Stop(fmt::format(
        "with each WITH name replaced by its query, the question reads more than {} tables: ask it "
        "in parts",
        kPlannedTablesMax));
  }
  if (expansion.columns > kPlannedColumnsMax) {
    return Status::Stop(fmt::format(
        "with each '*' replaced by its columns, a SELECT has more than {} of them: name the "
        "columns",
        kPlannedColumnsMax));
  }
  if (expansion.copies > kPlannedCopiesMax) {
    return Status::Stop(fmt::format(
        "with each alias, '*' and WITH name replaced by what it stands for, the question has more "
        "than {} expressions beyond those written: compute them step by step, in subqueries",
        kPlannedCopiesMax));
  }
  return Status::Ok();
}

}  // namespace

Status CheckSqlText(std::string_view sql) {
  if (sql.size() > kSqlBytesMax) {
    return Status::Stop(
        fmt::format("the SQL text has {} bytes; at most {} are allowed", sql.size(), kSqlBytesMax));
  }
  // A NUL ends the text for duckdb_prepare(): the guard would check another statement than the one
  // that runs.
  if (sql.find('\0') != std::string_view::npos) return Status::Stop("the SQL text contains a NUL");
  return IsUtf8(sql) ? Status::Ok() : Status::Stop("the SQL text is not UTF-8");
}

Result<CheckedSql> SqlGuard::Check(std::string_view sql, std::string_view text) const {
  // Boost's default of 32 levels is too low: each level of an expression makes several in the tree.
  json::parse_options options;
  options.max_depth = 5000;
  boost::system::error_code error;
  const json::value tree = json::parse(text, error, {}, options);
  if (error || !tree.is_object()) return Status::Stop("the SQL text is nested too deeply");
  const json::object& answer = tree.get_object();
  const json::value* failed = answer.if_contains("error");
  if (failed == nullptr || !failed->is_bool() || failed->get_bool())
    return ParserError(sql, answer);
  const json::value* statements = answer.if_contains("statements");
  if (statements == nullptr || !statements->is_array() || statements->get_array().size() != 1) {
    return Status::Stop("exactly one statement is allowed");
  }
  Walk walk(sql, tables_, catalog_);
  RETURN_IF_ERROR(walk.CollectNames(*statements));
  RETURN_IF_ERROR(walk.Visit(*statements));
  RETURN_IF_ERROR(CheckExpansion(statements->get_array()[0]));
  return walk.Take();
}

}  // namespace sightline
