// Routes: which handler a request belongs to, and who is refused before any handler sees it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/scope.h"
#include "server/http_message.h"

namespace sightline {

enum class Route : uint8_t {
  kDetections,
  kStream,
  kTop,
  kLocations,
  kLedger,
  kCounts,
  kItems,
  kQuery,
  kAlerts,
  kHealth,
  kLive,
  kReady,
  kMetrics,
  kPage,   // every other path; GET only
  kOther,  // what was no request at all
};
constexpr size_t kRoutes = static_cast<size_t>(Route::kOther) + 1;
std::string_view ToString(Route route);  // a metric label
Route RouteOf(std::string_view path);

// Why the request must not be answered, if so: no request of a browser may come through a name that
// is not ours (DNS rebinding), none may write from another site, and methods are what they are.
// `loopback`: the server listens on this machine only.
std::optional<Response> Refuse(const Request& request, Route route, bool loopback);

// What the caller may see. Everybody sees all so far; every read asks.
Scope ScopeOf(const Request& request);

}  // namespace sightline
