// Routes: finds the route of a request, and refuses requests before any handler sees them. Pure.
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
  kOther,  // the client sent no valid request
};
constexpr size_t kRoutes = static_cast<size_t>(Route::kOther) + 1;
std::string_view ToString(Route route);  // the metric's label
Route RouteOf(std::string_view path);

// The refusal of a request that must not be answered. On loopback, the request's Host must name
// this machine, against DNS rebinding; a browser may not post from another site; and each route has
// its methods. `loopback`: the server listens on a loopback address.
std::optional<Response> Refuse(const Request& request, Route route, bool loopback);

// What the caller may see. So far everybody may see everything, but every read takes a scope.
Scope ScopeOf(const Request& request);

}  // namespace sightline
