#include "server/views.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "live/messages.h"

namespace sightline {
namespace {

constexpr int32_t kLimitMax = 1'000;

// The parameters of each route.
std::vector<std::string_view> Parameters(Route route) {
  switch (route) {
    case Route::kStream:
      return {"location", "window", "limit"};
    case Route::kTop:
      return {"location", "window", "limit", "at"};
    case Route::kLocations:
      return {"window", "at"};
    default:
      return {};
  }
}

template <typename Names>
bool Contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// RFC 3986, section 2.1, and '+' for a space. What is no escape stays as it is.
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

std::optional<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string Bad(std::string_view name, std::string_view value, std::string_view accepted) {
  return fmt::format("parameter \"{}\" is \"{:.100}\": use {}", name, value, accepted);
}

// Why the value is refused, or "" and it is in `view`.
std::string Take(std::string_view name, std::string_view value, Millis pane_size, View& view) {
  const std::optional<int64_t> number = ParseInteger(value);
  if (name == "location") {
    if (!number && value != "all") return Bad(name, value, "\"all\" or the oid of a location");
    if (number) view.location = LocationId{*number};
  } else if (name == "window") {
    Result<WindowChoice> window = WindowChoice::Parse(value, pane_size);
    if (!window.ok())
      return fmt::format("parameter \"window\" is \"{:.100}\": {}", value,
                         window.status().message());
    const std::optional<EventTime> end = view.window.end;
    view.window = window.value();
    view.window.end = end;
  } else if (name == "limit") {
    if (!number || *number < 1 || *number > kLimitMax)
      return Bad(name, value, fmt::format("a number from 1 to {}", kLimitMax));
    view.limit = static_cast<int32_t>(*number);
  } else {
    CHECK(name == "at");
    if (!number || *number < kFirstEventTime.v || *number > kLastEventTime.v)
      return Bad(name, value, "the end of the window in milliseconds since 1970");
    view.window.end = EventTime{*number};
  }
  return {};
}

}  // namespace

std::variant<View, Response> ParseView(const Request& request, Route route, Millis pane_size) {
  View view;
  view.scope = ScopeOf(request);
  const std::vector<std::string_view> parameters = Parameters(route);
  std::vector<std::string> seen;
  std::string_view rest = request.query;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string name = Unescape(pair.substr(0, equals));
    const std::string value = Unescape(pair.substr(std::min(equals + 1, pair.size())));
    if (!Contains(parameters, name)) {
      return Problem(
          400, fmt::format(
                   "parameter \"{:.100}\" is unknown here: use {}", name,
                   parameters.empty() ? "none" : fmt::format("{}", fmt::join(parameters, ", "))));
    }
    if (Contains(seen, name))
      return Problem(400, fmt::format("parameter \"{}\" is there twice: give it once", name));
    if (const std::string why = Take(name, value, pane_size, view); !why.empty())
      return Problem(400, why);
    seen.push_back(name);
  }
  return view;
}

Response AnswerView(const View& view, Route route, const Live& live) {
  Response response;
  if (route == Route::kLedger) {
    response.body = ToJson(live.LedgerTotal(view.scope));
  } else {
    const Top top = live.TopItems(view.scope, view.location, view.window, view.limit);
    if (view.window.end && top.window.start < live.oldest()) {
      return Problem(400, fmt::format("parameter \"at\": the window begins before {}, and older "
                                      "counts are not kept here: use a later one",
                                      live.oldest().v));
    }
    response.body =
        route == Route::kTop ? ToJson(top) : ToJson(live.Locations(view.scope, view.window));
  }
  response.body.push_back('\n');
  return response;
}

}  // namespace sightline
