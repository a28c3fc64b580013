#include "server/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "base/check.h"

namespace sightline {
namespace {

struct NamedRoute {
  std::string_view path;
  std::string_view label;
  Route route;
};
constexpr NamedRoute kNamedRoutes[] = {
    {"/v1/detections", "detections", Route::kDetections},
    {"/v1/stream", "stream", Route::kStream},
    {"/v1/top", "top", Route::kTop},
    {"/v1/locations", "locations", Route::kLocations},
    {"/v1/ledger", "ledger", Route::kLedger},
    {"/v1/counts", "counts", Route::kCounts},
    {"/v1/items", "items", Route::kItems},
    {"/v1/query", "query", Route::kQuery},
    {"/v1/alerts", "alerts", Route::kAlerts},
    {"/healthz", "healthz", Route::kHealth},
    {"/livez", "livez", Route::kLive},
    {"/readyz", "readyz", Route::kReady},
    {"/metrics", "metrics", Route::kMetrics},
};

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

struct HostAndPort {
  std::string host;
  std::string port;
  friend bool operator==(const HostAndPort&, const HostAndPort&) = default;
};

// "localhost:8080", "[::1]", "127.0.0.1:80".
HostAndPort SplitHost(std::string_view text, std::string_view default_port) {
  const size_t bracket = text.rfind(']');
  const size_t colon = text.rfind(':');
  const bool has_port =
      colon != text.npos && (bracket == text.npos ? text.find(':') == colon : colon > bracket);
  return {LowerCase(text.substr(0, has_port ? colon : text.npos)),
          std::string(has_port ? text.substr(colon + 1) : default_port)};
}

// All of 127.0.0.0/8, as "127.0.0.2": a name such as "127.0.0.1.example" is none.
bool IsLoopbackV4(std::string_view host) {
  if (!host.starts_with("127.")) return false;
  int32_t parts = 0;
  for (bool more = true; more; ++parts) {
    const size_t dot = host.find('.');
    const std::string_view part = host.substr(0, dot);
    uint8_t byte = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), byte);
    if (error != std::errc() || end != part.data() + part.size()) return false;
    more = dot != host.npos;
    if (more) host.remove_prefix(dot + 1);
  }
  return parts == 4;
}

bool IsLoopbackName(std::string_view host) {
  const HostAndPort split = SplitHost(host, "");
  const bool digits = std::all_of(split.port.begin(), split.port.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
  return digits &&
         (split.host == "localhost" || split.host == "[::1]" || IsLoopbackV4(split.host));
}

bool IsSameHost(std::string_view origin, std::string_view host) {
  const size_t scheme_end = origin.find("://");
  if (scheme_end == origin.npos) return false;  // for example "null", the opaque origin
  const std::string_view port = origin.starts_with("https") ? "443" : "80";
  return SplitHost(origin.substr(scheme_end + 3), port) == SplitHost(host, port);
}

Response MethodNotAllowed(std::string_view method, std::string_view path, std::string_view allow) {
  Response response =
      Problem(405, fmt::format("\"{:.100}\" does not allow the method \"{:.100}\": use {}", path,
                               method, allow));
  response.headers.emplace_back("Allow", allow);
  return response;
}

}  // namespace

std::string_view ToString(Route route) {
  for (const NamedRoute& named : kNamedRoutes)
    if (named.route == route) return named.label;
  return route == Route::kPage ? "page" : "other";
}

Route RouteOf(std::string_view path) {
  for (const NamedRoute& named : kNamedRoutes)
    if (named.path == path) return named.route;
  return Route::kPage;
}

std::optional<Response> Refuse(const Request& request, Route route, bool loopback) {
  if (request.several_hosts)
    return Problem(400, "the request has several \"Host\" headers: send exactly one");
  if (loopback && !IsLoopbackName(request.host)) {
    return Problem(403, fmt::format("\"Host: {:.100}\" does not name this machine, and the server "
                                    "listens on loopback only: use http://localhost or "
                                    "http://127.0.0.1",
                                    request.host));
  }
  if (route == Route::kDetections || route == Route::kQuery) {
    if (request.method != "POST") return MethodNotAllowed(request.method, request.path, "POST");
    if (!request.origin.empty() && !IsSameHost(request.origin, request.host)) {
      return Problem(403, fmt::format("a page from \"{:.100}\" may not post here: post from the "
                                      "server's own page or from a program",
                                      request.origin));
    }
  } else if (request.method != "GET" && request.method != "HEAD") {
    return MethodNotAllowed(request.method, request.path, "GET, HEAD");
  }
  if (!request.path.starts_with('/'))
    return Problem(400, "the request's target must be a path that begins with \"/\", or a URL");
  return std::nullopt;
}

Scope ScopeOf(const Request&) { return Scope::All(); }

}  // namespace sightline
