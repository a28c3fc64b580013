// ServerMetrics: what the server counts about itself, and the Prometheus text of all rooms'
// metrics.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "ingest/ingest.h"
#include "server/routes.h"
#include "server/server.h"

namespace sightline {

// Thread-safe: relaxed counters.
class ServerMetrics {
 public:
  void CountRequest(Route route, int status);
  void CountIngest(const Ingested& ingested);
  // From the end of the request's headers to the answer that all is durable.
  void ObserveIngest(double seconds);

  std::atomic<int64_t> bytes_received = 0;
  std::atomic<int64_t> bytes_sent = 0;
  std::atomic<int64_t> connections = 0;          // open now
  std::atomic<int64_t> connections_refused = 0;  // beyond connections_max
  std::atomic<int64_t> streams = 0;              // open now
  std::atomic<int64_t> streams_stalled = 0;      // ended because the client took nothing
  std::atomic<int64_t> calls_abandoned = 0;      // of the lake, whose client went away

  // What others hold, as it is now.
  struct Held {
    int64_t ingest_memory_bytes = 0;
    int64_t answer_memory_bytes = 0;
    int64_t calls_waiting = 0;
  };
  // Text exposition format 0.0.4 of these, `held` and `others`.
  std::string Text(const Held& held, const std::vector<Metric>& others) const;

 private:
  // Statuses that the server sends; the last is any other one.
  static constexpr std::array kStatuses = {200, 304, 400, 403, 404, 405, 408, 411, 413,
                                           415, 429, 431, 500, 501, 503, 504, 507, 0};
  static constexpr std::array kSecondsBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
  std::array<std::array<std::atomic<int64_t>, kStatuses.size()>, kRoutes> requests_{};
  std::atomic<int64_t> accepted_ = 0;
  std::array<std::atomic<int64_t>, kMalformedReasons> rejected_{};
  std::array<std::atomic<int64_t>, kSecondsBounds.size() + 1> ingest_{};  // the last: +Inf
  std::atomic<int64_t> ingest_microseconds_ = 0;
};

}  // namespace sightline
