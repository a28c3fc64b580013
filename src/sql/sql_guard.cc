#include "sql/sql_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <optional>

#include "base/utf8.h"
#include "sql/calendar.h"
#include "sql/sql_bounds.h"

namespace sightline {
namespace {

namespace json = boost::json;

// Table functions that only compute. This is a list of what is allowed, because most table
// functions read files, settings or the catalog, and each version of DuckDB brings new ones.
constexpr std::array<std::string_view, 5> kTableFunctions = {"range", "generate_series", "unnest",
                                                             "json_each", "json_tree"};

// Scalar functions that reveal something about the process, wait, write, or make gigabytes from a
// few bytes. DuckDB cannot be interrupted while it computes one value, and it does not count that
// value against memory_limit. Memory from DuckDB's allocator has a bound (duck_memory.h), which all
// queries share; other memory has none (levenshtein takes 16 times its text).
// range() and generate_series() are refused only where they make a list: in FROM they make rows,
// which can be interrupted.
constexpr std::array<std::string_view, 34> kFunctionsRefused = {"getenv",
                                                                "getvariable",
                                                                "current_setting",
                                                                "current_query",
                                                                "current_query_id",
                                                                "write_log",
                                                                "sleep_ms",
                                                                "nextval",
                                                                "currval",
                                                                "setseed",
                                                                "stats",
                                                                "repeat",
                                                                "lpad",
                                                                "rpad",
                                                                "printf",
                                                                "format",
                                                                "bar",
                                                                "translate",
                                                                "damerau_levenshtein",
                                                                "levenshtein",
                                                                "editdist3",
                                                                "jaro_similarity",
                                                                "jaro_winkler_similarity",
                                                                "nfc_normalize",
                                                                "strip_accents",
                                                                "list_resize",
                                                                "array_resize",
                                                                "in_search_path",
                                                                "range",
                                                                "generate_series",
                                                                "txid_current",
                                                                "query",
                                                                "query_table",
                                                                "obj_description"};
constexpr std::array<std::string_view, 6> kPrefixesRefused = {"pg_",   "duckdb_",  "pragma_",
                                                              "read_", "parquet_", "sightline_"};

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

// The text of argument `i` if it is a constant; none: it is known only when the query runs.
std::optional<std::string_view> ConstantText(const json::array& arguments, size_t i) {
  if (i >= arguments.size() || !arguments[i].is_object()) return {};
  const json::object& argument = arguments[i].get_object();
  const json::value* value = argument.if_contains("value");
  if (TextOf(argument, "class") != "CONSTANT" || value == nullptr || !value->is_object()) return {};
  const json::value* text = value->get_object().if_contains("value");
  if (text == nullptr || !text->is_string()) return {};
  return std::string_view(text->get_string());
}

// Whether a call of replace() or regexp_replace() can make its text longer, which DuckDB does in
// memory without a bound. A pattern may match the empty text at every position, so
// regexp_replace() is safe only when it replaces by nothing.
bool MayGrow(const json::object& function) {
  const json::value* children = function.if_contains("children");
  if (children == nullptr || !children->is_array()) return true;
  const auto replaced = ConstantText(children->get_array(), 1);
  const auto by = ConstantText(children->get_array(), 2);
  if (!replaced || !by) return true;
  return Lower(TextOf(function, "function_name")) == "replace" ? by->size() > replaced->size()
                                                               : !by->empty();
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
    for (const auto& child : *object) RETURN_IF_ERROR(Visit(child.value()));
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
    return std::any_of(kPrefixesRefused.begin(), kPrefixesRefused.end(),
                       [&](std::string_view prefix) { return name.starts_with(prefix); });
  }

  // One check per kind of node that can reach beyond our tables. Subqueries need none of their own:
  // Visit() comes to their nodes, too.
  Status VisitNode(const json::object& node) {
    const std::string_view type = TextOf(node, "type");
    if (type == "SELECT_NODE") {
      for (auto& [table, bounds] : BoundsOf(node)) bounds_[table] = bounds;
      return Status::Ok();
    }
    if (type == "BASE_TABLE") return VisitTable(node);
    if (type == "TABLE_FUNCTION") return VisitTableFunction(node);
    if (type == "SHOW_REF") return VisitShow(node);
    if (TextOf(node, "class") == "FUNCTION" || node.contains("function_name")) {
      return VisitFunction(node);
    }
    if (type == "VALUE_PARAMETER")
      return Refused(sql_, node, "parameters ('?', '$1') have no value here: write the value");
    return Status::Ok();
  }

  Status VisitTable(const json::object& node) {
    const std::string name = Lower(TextOf(node, "table_name"));
    if (!TextOf(node, "schema_name").empty() || !TextOf(node, "catalog_name").empty()) {
      return Refused(sql_, node, fmt::format("write '{}' without a schema before it", name));
    }
    if (tables_.contains(name)) {
      const auto bounds = bounds_.find(&node);
      const ReadBounds known = bounds == bounds_.end() ? ReadBounds() : bounds->second;
      const auto [entry, is_new] = checked_.tables.emplace(name, known);
      // The statement reads the table twice, but there is one view for both.
      if (!is_new) entry->second.Widen(known);
      return Status::Ok();
    }
    if (names_.contains(name)) return Status::Ok();
    return Refused(
        sql_, node,
        fmt::format("there is no table '{}'; the tables are {}", name, fmt::join(tables_, ", ")));
  }

  Status VisitTableFunction(const json::object& node) {
    const json::value* function = node.if_contains("function");
    const std::string name = function != nullptr && function->is_object()
                                 ? Lower(TextOf(function->get_object(), "function_name"))
                                 : std::string();
    if (IsIn(kTableFunctions, name)) {
      in_from_.insert(&function->get_object());
      return Status::Ok();
    }
    return Refused(sql_, node,
                   fmt::format("the function '{}' is not allowed in FROM; those that are: {}", name,
                               fmt::join(kTableFunctions, ", ")));
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
    const std::string name = Lower(TextOf(node, "function_name"));
    if ((name == "replace" || name == "regexp_replace") && MayGrow(node)) {
      return Refused(
          sql_, node,
          fmt::format("'{}' is only allowed if the new text is a constant that is {}", name,
                      name == "replace" ? "no longer than the constant it replaces" : "empty"));
    }
    if (!IsIn(kFunctionsRefused, name) && !IsReserved(name)) return Status::Ok();
    // These two only compute, despite their prefix.
    if (name == "pg_typeof" || name == "pg_size_pretty") return Status::Ok();
    return Refused(sql_, node, fmt::format("the function '{}' is not allowed", name));
  }

  const std::string_view sql_;
  const std::set<std::string>& tables_;
  const std::set<std::string>& catalog_;
  std::set<std::string> names_;            // of all WITH queries
  std::set<const json::object*> in_from_;  // calls that stand in FROM and are allowed there
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
  return Refused(sql, json::object{{"query_location", offset}}, message);
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
  return walk.Take();
}

}  // namespace sightline
