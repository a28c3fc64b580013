// CurlClient: an HttpClient on libcurl, which stays behind this header.
#pragma once

#include <memory>

#include "base/status.h"
#include "camera/http_client.h"

namespace sightline {

struct CurlClientOptions {
  Millis connect_timeout{2'000};
  Millis timeout{10'000};              // of a whole request; then the server counts as unavailable
  int64_t answer_bytes_max = 1 << 20;  // a longer answer is not from our server
};

// The client keeps its connection open between posts, follows no redirects, and speaks only http
// and https. It never uses a proxy for loopback addresses; for others it follows http_proxy and
// no_proxy. kStop when libcurl cannot be set up.
Result<std::unique_ptr<HttpClient>> CreateCurlClient(const CurlClientOptions& options);

}  // namespace sightline
