// Routes: finds the route of a request, and refuses requests before any handler sees them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/scope.h"
#include "server/http_message.h"
#include "server/server.h"

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

// The answer to a request that no handler may see. On loopback, or with allowed_hosts, the
// request's Host must name this machine, against DNS rebinding, or be one of the options. A
// browser's page of another site may neither post nor ask what costs much, unless the options name
// its origin; then the preflights that browsers send before are answered here. Each route has its
// methods. `loopback`: the server listens on a loopback address.
std::optional<Response> Refuse(const Request& request, Route route, const ServerOptions& options,
                               bool loopback);

// The header lines by which a browser lets the request's page read the response; empty without
// cors_origins.
std::string CorsHeaders(const Request& request, const ServerOptions& options);

// What the caller may see. So far everybody may see everything, but every read takes a scope.
Scope ScopeOf(const Request& request);

}  // namespace sightline
