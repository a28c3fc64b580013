// Parses the parameters of a request's target. Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "server/http_message.h"

namespace sightline {

using ParameterMap = std::map<std::string, std::string>;

// Parses "a=1&b=2" and unescapes names and values. A 400 for a parameter that is not among `known`
// or occurs twice.
std::variant<ParameterMap, Response> ParseParameters(std::string_view query,
                                                     std::span<const std::string_view> known);
// Whether the query has one of `names`, with or without a value.
bool HasParameter(std::string_view query, std::span<const std::string_view> names);
// A decimal integer that is all of `text`; none otherwise.
std::optional<int64_t> ParseInteger(std::string_view text);
// The sentence that refuses a value; `accepted` says what to use.
std::string BadParameter(std::string_view name, std::string_view value, std::string_view accepted);

}  // namespace sightline
