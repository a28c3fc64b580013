// The names that a user's SQL may use: functions, table functions and types. Made from the
// catalogue of the pinned DuckDB; allowed_functions_test.cc compares the two and runs every entry.
// Pure and thread-safe. A name is compared without regard to case.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sightline {

// Functions that are allowed for one reason; the comment in sql_functions.cc gives it.
struct FunctionFamily {
  std::string_view name;
  std::string_view functions;  // in lower case, with a space between two
};
std::span<const FunctionFamily> FunctionFamilies();

// Functions that may stand in an expression: scalar functions, operators, aggregates, windows,
// macros.
bool IsFunctionAllowed(std::string_view name);
// The allowed function that is the fewest edits away.
std::string NearestFunction(std::string_view name);

// Functions that may stand in FROM.
std::span<const std::string_view> TableFunctions();
bool IsTableFunctionAllowed(std::string_view name);

// Types that a cast may name, as json_serialize_sql spells them.
bool IsTypeAllowed(std::string_view name);
std::string NearestType(std::string_view name);

// Functions whose second argument is a lambda. Anywhere else, 'a -> b' reads JSON.
bool TakesLambda(std::string_view function);
// Functions whose second argument is a JSON path.
bool TakesJsonPath(std::string_view function);
// Functions whose second argument is the name of an aggregate.
bool TakesAggregateName(std::string_view function);

// How often a call is planned with each of its arguments: more than once for the functions that
// DuckDB has as macros. An upper bound.
uint64_t CopiesOfArguments(std::string_view function);

}  // namespace sightline
