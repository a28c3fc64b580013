// Request and Response: HTTP messages for the handlers, without sockets and without Boost. Values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/spool.h"

namespace sightline {

// Views into the connection's parser, valid until the request is answered. Absent headers are
// empty.
struct Request {
  std::string_view method;
  std::string_view path;   // of the target, still percent-encoded
  std::string_view query;  // of the target, without '?', still percent-encoded
  std::string_view host;
  std::string_view origin;
  std::string_view fetch_site;      // Sec-Fetch-Site: how a browser's page relates to this server
  std::string_view request_method;  // Access-Control-Request-Method, of a preflight
  std::string_view content_encoding;
  std::string_view transfer_encoding;
  std::string_view if_none_match;
  std::string_view last_event_id;
  bool several_hosts = false;
  bool has_body = false;
};

// Sets path and query from a request's target: a path, or a whole URL, as some proxies and clients
// send it (RFC 9112, section 3.2.2). A URL's authority then replaces the host of the header.
void SetTarget(std::string_view target, Request* request);

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool close = false;                       // close the connection after this response
  std::shared_ptr<const Spool> spool = {};  // the body instead of `body`; null: `body` is it

  int64_t size() const { return spool ? spool->size() : static_cast<int64_t>(body.size()); }
};

constexpr std::string_view kProblemType = "application/problem+json";
// An answer of kProblemType (RFC 9457). `detail` says what failed and what to do.
Response Problem(int status, std::string_view detail);
// The Retry-After of what is over soon.
constexpr int kRetryAfterSeconds = 1;
// A 429 or 503 with Retry-After: the same request may succeed `seconds` later.
Response TryAgain(int status, int seconds, std::string_view detail);

// The status line, all headers and the empty line. `close` says whether the connection closes after
// the response. `more`: further header lines.
std::string Head(const Response& response, bool close, std::string_view more = {});
// The head of a response that ends with the connection.
std::string StreamHead(std::string_view more = {});

// Appends `text` as a JSON string with quotes. If it is not UTF-8, as a client's headers may be,
// '?' replaces every byte that is not ASCII.
void AppendJsonString(std::string& out, std::string_view text);

}  // namespace sightline
