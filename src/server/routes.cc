#include "server/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "base/check.h"
#include "server/api.h"

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

// What a URL to a loopback address has for its host.
std::string LoopbackUrlHost(std::string_view address) {
  if (address == "127.0.0.1") return "127.0.0.1 or http://localhost";
  return address.find(':') == address.npos ? std::string(address) : fmt::format("[{}]", address);
}

bool IsLoopbackName(std::string_view host) {
  return host == "localhost" || host == "[::1]" || IsLoopbackV4(host);
}

bool IsSameHost(std::string_view origin, std::string_view host) {
  const size_t scheme_end = origin.find("://");
  if (scheme_end == origin.npos) return false;  // for example "null", the opaque origin
  const std::string_view port = origin.starts_with("https") ? "443" : "80";
  return SplitHost(origin.substr(scheme_end + 3), port) == SplitHost(host, port);
}

bool IsSameOrigin(std::string_view a, std::string_view b) {
  const size_t scheme_end = b.find("://");
  return scheme_end != b.npos &&
         LowerCase(a.substr(0, a.find(':'))) == LowerCase(b.substr(0, scheme_end)) &&
         IsSameHost(a, b.substr(scheme_end + 3));
}

// Whether the Host header may say this: `options` name it, or it is this machine.
bool IsOurName(std::string_view host, const ServerOptions& options) {
  const HostAndPort split = SplitHost(host, "");
  if (!std::all_of(split.port.begin(), split.port.end(),
                   [](char c) { return c >= '0' && c <= '9'; }))
    return false;
  if (IsLoopbackName(split.host)) return true;
  const size_t scheme_end = options.public_origin.find("://");
  if (scheme_end != std::string::npos &&
      split.host ==
          SplitHost(std::string_view(options.public_origin).substr(scheme_end + 3), "").host)
    return true;
  return std::any_of(
      options.allowed_hosts.begin(), options.allowed_hosts.end(),
      [&](const std::string& name) { return split.host == SplitHost(name, "").host; });
}

bool IsCorsOrigin(std::string_view origin, const ServerOptions& options) {
  return std::any_of(options.cors_origins.begin(), options.cors_origins.end(),
                     [&](const std::string& known) { return IsSameOrigin(origin, known); });
}

// Whether a page with this origin may post.
bool MayPost(const Request& request, const ServerOptions& options) {
  const std::string_view origin = request.origin;
  return origin.empty() || IsSameHost(origin, request.host) ||
         IsSameOrigin(origin, options.public_origin) || IsCorsOrigin(origin, options);
}

// Streams and questions to the lake. A page of another site could not read the answer, but have it
// computed.
bool CostsMuch(const Request& request, Route route) {
  return route == Route::kStream || IsLakeRequest(route, request.query);
}

// RFC 9110 has no answer to preflights; the Fetch standard does ("CORS-preflight request").
Response AnswerPreflight() {
  Response response;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST");
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                "Content-Encoding, Content-Type, If-None-Match, Last-Event-ID");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

std::optional<Response> RefuseHost(const Request& request, const ServerOptions& options,
                                   bool loopback) {
  if (request.several_hosts)
    return Problem(400, "the request has several \"Host\" headers: send exactly one");
  if (!loopback && options.allowed_hosts.empty()) return std::nullopt;
  if (IsOurName(request.host, options)) return std::nullopt;
  if (!loopback)
    return Problem(403, fmt::format("\"Host: {:.100}\" is not one of server.allowed_hosts: add it "
                                    "there, or use a name that is",
                                    request.host));
  return Problem(403, fmt::format("\"Host: {:.100}\" does not name this machine, and the server "
                                  "listens on loopback only: use http://{}, or, behind a proxy, "
                                  "add the name to server.allowed_hosts",
                                  request.host, LoopbackUrlHost(options.address)));
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

std::optional<Response> Refuse(const Request& request, Route route, const ServerOptions& options,
                               bool loopback) {
  if (auto refusal = RefuseHost(request, options, loopback)) return refusal;
  if (request.method == "OPTIONS" && !request.request_method.empty() &&
      IsCorsOrigin(request.origin, options))
    return AnswerPreflight();
  if (route == Route::kDetections || route == Route::kQuery) {
    if (request.method != "POST") return MethodNotAllowed(request.method, request.path, "POST");
    if (!MayPost(request, options)) {
      return Problem(403, fmt::format("a page from \"{:.100}\" may not post here: post from the "
                                      "server's own page or from a program, or add the origin to "
                                      "server.cors_origins",
                                      request.origin));
    }
  } else if (request.method != "GET" && request.method != "HEAD") {
    return MethodNotAllowed(request.method, request.path, "GET, HEAD");
  } else if (request.fetch_site == "cross-site" && CostsMuch(request, route) &&
             !IsCorsOrigin(request.origin, options)) {
    return Problem(403,
                   "a page of another site may not ask this: ask from the server's own page or "
                   "from a program, or add the page's origin to server.cors_origins");
  }
  if (!request.path.starts_with('/'))
    return Problem(400, "the request's target must be a path that begins with \"/\", or a URL");
  return std::nullopt;
}

std::string CorsHeaders(const Request& request, const ServerOptions& options) {
  if (options.cors_origins.empty()) return {};
  if (!IsCorsOrigin(request.origin, options)) return "Vary: Origin\r\n";
  return fmt::format(
      "Vary: Origin\r\nAccess-Control-Allow-Origin: {}\r\n"
      "Access-Control-Expose-Headers: ETag, Retry-After, X-Incomplete, X-Truncated\r\n",
      request.origin);
}

Scope ScopeOf(const Request&) { return Scope::All(); }

}  // namespace sightline
