// HttpClient: the port through which a Sender posts and a command queries a server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/types.h"

namespace sightline {

struct HttpResponse {
  int32_t status = 0;  // 0: no answer came; see `error`
  std::string body;
  std::optional<Millis> retry_after;  // the header, if present
  std::string error;                  // why no answer came, for people
  bool truncated = false;             // X-Truncated: there were more rows
  std::string incomplete;  // X-Incomplete: what the answer lacks, as JSON; empty: nothing
};

// One thread at a time calls Post() and Get(), which never throw.
class HttpClient {
 public:
  virtual ~HttpClient() = default;
  // `headers` are whole lines ("Content-Type: ..."). Returns in bounded time.
  virtual HttpResponse Post(const std::string& url, const std::vector<std::string>& headers,
                            std::string_view body) = 0;
  virtual HttpResponse Get(const std::string& url) = 0;
  // Callable on any thread. The current request and all later ones return soon with status 0.
  virtual void Cancel() = 0;
};

}  // namespace sightline
