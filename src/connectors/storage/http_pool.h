// HttpPool: HTTP exchanges over libcurl, which stays behind this header.
//
// Thread-safe. An exchange blocks its caller, and always ends: it fails when it cannot connect in
// `connect_timeout`, when it moves fewer than 1,000 bytes a second for `timeout`, or about a second
// after a stop was asked for. Connections are kept and used again. Proxies of the environment are
// not used.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/storage/content.h"

namespace sightline {

struct HttpPoolOptions {
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds timeout{30'000};
  std::string ca_file;  // PEM; empty: the certificates that the machine trusts
  // A large body waits up to a second for the server's permission, so that a refusal comes instead
  // of it. Not every server gives one.
  bool expect_continue = false;
  std::stop_token stop;
};

enum class HttpMethod : uint8_t { kGet, kPut, kPost, kDelete };

struct HttpRequest {
  HttpMethod method = HttpMethod::kGet;
  std::string url;
  std::map<std::string, std::string> headers;
  Content body;  // of kPut and kPost; is sent piece by piece
};

struct HttpAnswer {
  int32_t status = 0;  // 0: no complete answer came, and `error` says why
  std::string body;
  std::map<std::string, std::string> headers;  // the names in lower case
  std::string location;                        // of a redirect, absolute; it is not followed
  std::string error;
  bool connected = true;  // false: the server certainly has nothing of the request
  // The server may have had the whole request twice: a connection that was used again had been
  // closed, and so it was sent on another one. Of a request without a body, nobody sees that.
  bool may_be_repeated = false;
  // The server's clock, since the Unix epoch. 0: it does not say.
  int64_t date_ms = 0;
};

class HttpPool {
 public:
  // kStop when libcurl cannot be set up.
  static Result<std::unique_ptr<HttpPool>> Create(const HttpPoolOptions& options);
  virtual ~HttpPool() = default;
  virtual HttpAnswer Send(const HttpRequest& request) = 0;
};

// Encodes what is not a letter, a digit or one of "-._~" as in a URL.
std::string PercentEncoded(std::string_view text);
// The same, except for '/'.
std::string PercentEncodedPath(std::string_view path);
// Leaves what is not encoded as it is.
std::string PercentDecoded(std::string_view text);
// The host and port of a URL, for messages: a query may hold a secret. The URL itself if it is
// none.
std::string HostOf(std::string_view url);

}  // namespace sightline
