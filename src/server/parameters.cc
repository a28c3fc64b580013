#include "server/parameters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace sightline {
namespace {

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// Percent-decodes (RFC 3986, section 2.1), and reads '+' as a space. Invalid escapes stay as they
// are.
std::string Unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const auto high = HexDigit(text[i + 1]), low = HexDigit(text[i + 2]);
      if (high && low) {
        plain.push_back(static_cast<char>(*high * 16 + *low));
        i += 2;
        continue;
      }
    }
    plain.push_back(text[i] == '+' ? ' ' : text[i]);
  }
  return plain;
}

// Removes the next "name=value" from `query` and returns it unescaped; none at the end.
std::optional<std::pair<std::string, std::string>> TakePair(std::string_view& query) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    return std::pair(Unescape(pair.substr(0, equals)),
                     Unescape(pair.substr(std::min(equals + 1, pair.size()))));
  }
  return std::nullopt;
}

}  // namespace

std::variant<ParameterMap, Response> ParseParameters(std::string_view query,
                                                     std::span<const std::string_view> known) {
  ParameterMap parameters;
  while (auto pair = TakePair(query)) {
    auto& [name, value] = *pair;
    if (std::ranges::find(known, name) == known.end()) {
      return Problem(
          400, fmt::format("parameter \"{:.100}\" is unknown here: use {}", name,
                           known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
    }
    if (!parameters.emplace(name, std::move(value)).second)
      return Problem(400, fmt::format("parameter \"{}\" occurs twice: give it once", name));
  }
  return parameters;
}

bool HasParameter(std::string_view query, std::span<const std::string_view> names) {
  while (const auto pair = TakePair(query))
    if (std::ranges::find(names, pair->first) != names.end()) return true;
  return false;
}

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string BadParameter(std::string_view name, std::string_view value, std::string_view accepted) {
  return fmt::format("parameter \"{}\" is \"{:.100}\": use {}", name, value, accepted);
}

}  // namespace sightline
