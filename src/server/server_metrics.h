// ServerMetrics: the server's own metrics, and the Prometheus text of all rooms' metrics.
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

// Thread-safe: every member is atomic.
class ServerMetrics {
 public:
  void CountRequest(Route route, int status);
  void CountIngest(const Ingested& ingested);
  // `seconds`: from the end of the request's headers to the answer that all is durable.
  void ObserveIngest(double seconds);

  std::atomic<int64_t> bytes_received = 0;
  std::atomic<int64_t> bytes_sent = 0;
  std::atomic<int64_t> connections = 0;          // open now
  std::atomic<int64_t> connections_refused = 0;  // beyond connections_max
  std::atomic<int64_t> connections_evicted = 0;  // waited for a request, and the server was full
  std::atomic<int64_t> streams = 0;              // open now
  std::atomic<int64_t> streams_stalled = 0;      // ended because the client took nothing
  std::atomic<int64_t> calls_abandoned = 0;      // queries of the lake whose client went away

  // Current values of objects that the server owns besides this one.
  struct Held {
    int64_t ingest_memory_bytes = 0;
    int64_t answer_memory_bytes = 0;
    int64_t answer_disk_bytes = 0;
    int64_t calls_waiting = 0;
  };
  // All metrics - these, `held` and `others` - in the text exposition format 0.0.4.
  std::string Text(const Held& held, const std::vector<Metric>& others) const;

 private:
  // The statuses that the server sends; 0 stands for any other.
  static constexpr std::array kStatuses = {200, 304, 400, 403, 404, 405, 408, 411, 413, 415,
                                           422, 429, 431, 500, 501, 503, 504, 507, 0};
  static constexpr std::array kSecondsBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
  std::array<std::array<std::atomic<int64_t>, kStatuses.size()>, kRoutes> requests_{};
  std::atomic<int64_t> accepted_ = 0;
  std::array<std::atomic<int64_t>, kMalformedReasons> rejected_{};
  std::array<std::atomic<int64_t>, kSecondsBounds.size() + 1> ingest_{};  // the last is +Inf
  std::atomic<int64_t> ingest_microseconds_ = 0;
};

}  // namespace sightline
