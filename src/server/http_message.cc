#include "server/http_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "base/utf8.h"

namespace sightline {
namespace {

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 507:
      return "Insufficient Storage";
    default:
      return "Unknown";
  }
}

// Sent with every response. The page may load only its own files and may not be framed. Browsers
// must not interpret other responses as a page, nor let another site load them.
constexpr std::string_view kSecurityHeaders =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n";

// Takes "http://" or "https://" off the front of `target`, in either case.
bool SkipScheme(std::string_view* target) {
  const size_t end = std::min(target->find("://"), target->size());
  std::string scheme(target->substr(0, end));
  for (char& c : scheme)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (scheme != "http" && scheme != "https") return false;
  if (end == target->size()) return false;
  target->remove_prefix(end + 3);
  return true;
}

}  // namespace

void SetTarget(std::string_view target, Request* request) {
  if (SkipScheme(&target)) {
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    request->host = target.substr(0, end);
    target.remove_prefix(end);
    if (!target.starts_with('/')) request->path = "/";
  }
  const size_t question = std::min(target.find('?'), target.size());
  if (question > 0) request->path = target.substr(0, question);
  request->query = target.substr(std::min(question + 1, target.size()));
}

Response Problem(int status, std::string_view detail) {
  Response response{.status = status, .content_type = std::string(kProblemType)};
  response.body = fmt::format(R"({{"type":"about:blank","title":"{}","status":{},"detail":)",
                              ReasonPhrase(status), status);
  AppendJsonString(response.body, detail);
  response.body += "}\n";
  return response;
}

Response TryAgain(int status, int seconds, std::string_view detail) {
  Response response = Problem(status, detail);
  response.headers.emplace_back("Retry-After", fmt::format("{}", seconds));
  return response;
}

std::string Head(const Response& response, bool close, std::string_view more) {
  std::string head;
  auto out = std::back_inserter(head);
  fmt::format_to(out, "HTTP/1.1 {} {}\r\n{}", response.status, ReasonPhrase(response.status),
                 kSecurityHeaders);
  if (response.status != 304) {  // which has no body: RFC 9110, section 15.4.5
    fmt::format_to(out, "Content-Type: {}\r\nContent-Length: {}\r\n", response.content_type,
                   response.size());
  }
  bool cache_control = false;
  for (const auto& [name, value] : response.headers) {
    fmt::format_to(out, "{}: {}\r\n", name, value);
    cache_control |= name == "Cache-Control";
  }
  if (!cache_control) head += "Cache-Control: no-store\r\n";
  head += more;
  head += close ? "Connection: close\r\n\r\n" : "Connection: keep-alive\r\n\r\n";
  return head;
}

std::string StreamHead(std::string_view more) {
  return fmt::format(
      "HTTP/1.1 200 OK\r\n{}Content-Type: text/event-stream\r\nCache-Control: no-store\r\n"
      "X-Accel-Buffering: no\r\n{}Connection: close\r\n\r\n",
      kSecurityHeaders, more);
}

void AppendJsonString(std::string& out, std::string_view text) {
  const bool valid = IsUtf8(text);
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out.push_back(valid || static_cast<unsigned char>(c) < 0x80 ? c : '?');
    }
  }
  out.push_back('"');
}

}  // namespace sightline
