// The parameters of a request's target.
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

// Of "a=1&b=2", unescaped. A 400 for a parameter that is not among `known` or is there twice.
std::variant<ParameterMap, Response> ParseParameters(std::string_view query,
                                                     std::span<const std::string_view> known);
// Whether one of `names` is among them, with or without a value.
bool HasParameter(std::string_view query, std::span<const std::string_view> names);
// Whole, decimal.
std::optional<int64_t> ParseInteger(std::string_view text);
// The sentence for a value that is not `accepted`.
std::string BadParameter(std::string_view name, std::string_view value, std::string_view accepted);

}  // namespace sightline
