// Server: HTTP on one port: ingest, live reads, server-sent events, health, metrics and the page.
//
// Boost.Beast stays behind this header. The server runs on its own threads. Every handler is a
// coroutine on one of them and never blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metric.h"
#include "base/status.h"
#include "ingest/detection_log.h"
#include "live/hub.h"
#include "live/live.h"
#include "pipeline/spec.h"
#include "query/query_service.h"

namespace sightline {

struct ServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8080;  // 0: any free one, see Server::port()
  int32_t threads = 1;
  int64_t body_bytes_max = 16 << 20;           // of a POST, compressed and decompressed
  int64_t ingest_memory_bytes_max = 64 << 20;  // of all bodies in progress; 429 when it is used up
  int32_t connections_max = 4'096;
  // Further names that requests may call the server, for example a proxy's; any port.
  std::vector<std::string> allowed_hosts;
  std::string public_origin;  // where browsers see the page, behind a proxy; empty: here
  std::vector<std::string> cors_origins;  // whose pages may read and post here (CORS)
  int32_t queries_max = 4;                // in SQL, at a time
  int32_t queries_per_client_max = 2;     // of them from one address
  int32_t queries_waiting_max = 64;       // for their turn; 429 beyond it
  // Of all answers from the lake. One may have half of what is on disk; 503 beyond it.
  int64_t answer_memory_bytes_max = 256 << 20;
  int64_t answer_disk_bytes_max = 1 << 30;
  Millis idle_timeout{60'000};    // of a connection without a request
  Millis header_timeout{10'000};  // from a request's first byte to the end of its headers
  Millis body_timeout{60'000};    // from the end of the headers to the end of the body
  Millis stall_timeout{30'000};   // of a client that takes nothing of its answer or stream
  std::string web_dir;            // serve the page's files from here instead of the built-in ones
};

struct ServerPorts {
  DetectionLog* log = nullptr;
  const Live* live = nullptr;
  Hub* hub = nullptr;
  QueryService* queries = nullptr;  // null: there is no lake; requests for it get 404
  const Clock* clock = nullptr;
  std::function<std::vector<Metric>()> metrics;  // of the other rooms
  std::function<Health()> health;
  std::function<Health()> alive;  // whether the process's main loop runs
  std::function<Health()> ready;  // whether the process can do its work now
  // Why live's numbers cannot be shown yet, as the text of a 503. Empty, or null: they can.
  std::function<std::string()> live_not_ready;
  std::function<std::string(const Scope&)> alerts;  // the active ones as JSON; null: there are none
};

class Server {
 public:
  // Binds the address and starts the threads. kStop if the address is in use or not allowed.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                               const PipelineSpec& spec, ServerPorts ports);
  ~Server();  // Stop()
  // Refuses new requests, finishes current ones for at most `grace`, ends streams, and joins the
  // threads.
  void Stop(Millis grace);
  uint16_t port() const;

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
