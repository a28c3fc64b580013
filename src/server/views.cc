#include "server/views.h"

#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "live/messages.h"
#include "server/parameters.h"

namespace sightline {
namespace {

constexpr int32_t kLimitMax = 1'000;

// The parameters that a route accepts.
std::vector<std::string_view> ViewParameters(Route route) {
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

// Stores the value in `view`. Returns "", or the reason why the value is refused.
std::string Take(std::string_view name, std::string_view value, Millis pane_size, View& view) {
  const std::optional<int64_t> number = ParseInteger(value);
  if (name == "location") {
    if (!number && value != "all")
      return BadParameter(name, value, "\"all\" or the oid of a location");
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
      return BadParameter(name, value, fmt::format("a number from 1 to {}", kLimitMax));
    view.limit = static_cast<int32_t>(*number);
  } else {
    CHECK(name == "at");
    if (!number || *number < kFirstEventTime.v || *number > kLastEventTime.v)
      return BadParameter(name, value, "the end of the window in Unix milliseconds");
    view.window.end = EventTime{*number};
  }
  return {};
}

}  // namespace

std::variant<View, Response> ParseView(const Request& request, Route route, Millis pane_size) {
  View view;
  view.scope = ScopeOf(request);
  auto parameters = ParseParameters(request.query, ViewParameters(route));
  if (auto* refusal = std::get_if<Response>(&parameters)) return std::move(*refusal);
  for (const auto& [name, value] : std::get<ParameterMap>(parameters))
    if (const std::string why = Take(name, value, pane_size, view); !why.empty())
      return Problem(400, why);
  return view;
}

Response AnswerView(const View& view, Route route, const Live& live) {
  Response response;
  if (route == Route::kLedger) {
    response.body = ToJson(live.LedgerTotal(view.scope));
  } else {
    const Top top = live.TopItems(view.scope, view.location, view.window, view.limit);
    if (view.window.end && top.window.start < live.oldest()) {
      return Problem(400, fmt::format("parameter \"at\": the window begins before {}, the oldest "
                                      "time in memory: read older counts from the lake with "
                                      "\"from\" and \"to\"",
                                      live.oldest().v));
    }
    response.body =
        route == Route::kTop ? ToJson(top) : ToJson(live.Locations(view.scope, view.window));
  }
  response.body.push_back('\n');
  return response;
}

}  // namespace sightline
