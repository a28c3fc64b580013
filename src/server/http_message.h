// Request and Response: what the handlers see of HTTP, without sockets and without Boost.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/memory_budget.h"

namespace sightline {

// Views into the connection's parser; valid while the request is being answered. Absent headers are
// empty.
struct Request {
  std::string_view method;
  std::string_view target;  // as it came
  std::string_view path;    // of the target, not decoded
  std::string_view query;   // of the target, without '?', not decoded
  std::string_view host;
  std::string_view origin;
  std::string_view content_encoding;
  std::string_view transfer_encoding;
  std::string_view if_none_match;
  std::string_view last_event_id;
  bool several_hosts = false;
  bool has_body = false;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool close = false;       // the connection, behind this
  MemoryClaim memory = {};  // of the body; until it is sent
};

// application/problem+json (RFC 9457). `detail`: what failed, and what to do.
Response Problem(int status, std::string_view detail);
// 429 or 503: the same request may succeed `seconds` later.
Response TryAgain(int status, int seconds, std::string_view detail);

// The status line and all headers with the empty line. `close` says what happens to the connection.
std::string Head(const Response& response, bool close);
// The head of an answer that goes on until the connection ends.
std::string StreamHead();

// Appends `text` as a JSON string with its quotes. Where it is not UTF-8, '?' replaces what is not
// ASCII: it may have come from a sender's headers.
void AppendJsonString(std::string& out, std::string_view text);

}  // namespace sightline
