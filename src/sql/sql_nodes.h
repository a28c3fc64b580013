// The kinds of nodes that a question may consist of, as json_serialize_sql names them. Whatever a
// newer DuckDB adds is refused until somebody has looked at it. Pure and thread-safe.
#pragma once

#include <string_view>

namespace sightline {

// `type` of any node; '' for a node without a type.
bool IsNodeTypeAllowed(std::string_view type);
// `class` of an expression; '' for a node that is not an expression.
bool IsExpressionClassAllowed(std::string_view name);

}  // namespace sightline
