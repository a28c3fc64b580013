// HttpPool: HTTP exchanges over libcurl, which stays behind this header.
//
// Thread-safe. An exchange blocks its caller, and always ends: it fails when it cannot connect in
// `connect_timeout`, when it moves fewer than 1,000 bytes a second for `timeout`, or about a second
// after a stop was asked for. Connections are kept and used again. Proxies of the environment are
// not used.
#pragma once

#include <chrono>
#include <cstdint>
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
  std::stop_token stop;
};

enum class HttpMethod : uint8_t { kGet, kPut, kDelete };

struct HttpRequest {
  HttpMethod method = HttpMethod::kGet;
  std::string url;
  Content body;  // of kPut; is sent piece by piece
};

struct HttpAnswer {
  int32_t status = 0;  // 0: no complete answer came, and `error` says why
  std::string body;
  std::string location;  // of a redirect, absolute; it is not followed
  std::string error;
  bool connected = true;  // false: the server certainly has nothing of the request
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
// The host and port of a URL, for messages: a query may hold a secret. The URL itself if it is
// none.
std::string HostOf(std::string_view url);

}  // namespace sightline
