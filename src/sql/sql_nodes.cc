#include "sql/sql_nodes.h"

#include <algorithm>
#include <array>

namespace sightline {
namespace {

// Left out: VALUE_DEFAULT (for INSERT), STATEMENT_NODE (an INSERT inside WITH), and the BOUND_...
// nodes, which only DuckDB makes.
constexpr std::array<std::string_view, 74> kNodeTypes = {
    "",
    // Queries
    "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE",
    // What follows a query: ORDER BY, LIMIT, DISTINCT
    "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER", "ASCENDING",
    "DESCENDING", "ORDER_DEFAULT",
    // What stands in FROM. The guard looks into each.
    "BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SHOW_REF", "SUBQUERY",
    "TABLE_FUNCTION",
    // Expressions
    "ARRAY_CONSTRUCTOR", "ARRAY_EXTRACT", "ARRAY_SLICE", "CASE_EXPR", "COLLATE", "COLUMN_REF",
    "COMPARE_BETWEEN", "COMPARE_DISTINCT_FROM", "COMPARE_EQUAL", "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHANOREQUALTO", "COMPARE_IN", "COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_NOTEQUAL", "COMPARE_NOT_BETWEEN", "COMPARE_NOT_DISTINCT_FROM", "COMPARE_NOT_IN",
    "CONJUNCTION_AND", "CONJUNCTION_OR", "FUNCTION", "GROUPING_FUNCTION", "LAMBDA", "OPERATOR_CAST",
    "OPERATOR_COALESCE", "OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT",
    "OPERATOR_NULLIF", "OPERATOR_TRY", "OPERATOR_UNPACK", "POSITIONAL_REFERENCE", "STAR",
    "STRUCT_EXTRACT", "VALUE_CONSTANT", "WINDOW_AGGREGATE", "WINDOW_CUME_DIST", "WINDOW_FILL",
    "WINDOW_FIRST_VALUE", "WINDOW_LAG", "WINDOW_LAST_VALUE", "WINDOW_LEAD", "WINDOW_NTH_VALUE",
    "WINDOW_NTILE", "WINDOW_PERCENT_RANK", "WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_ROW_NUMBER",
    // Types of casts and constants. The guard looks at their names.
    "ARRAY_TYPE_INFO", "DECIMAL_TYPE_INFO", "GENERIC_TYPE_INFO", "LIST_TYPE_INFO",
    "STRING_TYPE_INFO", "STRUCT_TYPE_INFO", "UNBOUND_TYPE_INFO"};

constexpr std::array<std::string_view, 16> kExpressionClasses = {"",
                                                                 "BETWEEN",
                                                                 "CASE",
                                                                 "CAST",
                                                                 "COLLATE",
                                                                 "COLUMN_REF",
                                                                 "COMPARISON",
                                                                 "CONJUNCTION",
                                                                 "CONSTANT",
                                                                 "FUNCTION",
                                                                 "LAMBDA",
                                                                 "OPERATOR",
                                                                 "POSITIONAL_REFERENCE",
                                                                 "STAR",
                                                                 "SUBQUERY",
                                                                 "WINDOW"};

}  // namespace

bool IsNodeTypeAllowed(std::string_view type) {
  return std::find(kNodeTypes.begin(), kNodeTypes.end(), type) != kNodeTypes.end();
}

bool IsExpressionClassAllowed(std::string_view name) {
  return std::find(kExpressionClasses.begin(), kExpressionClasses.end(), name) !=
         kExpressionClasses.end();
}

}  // namespace sightline
