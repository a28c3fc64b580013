// Server: HTTP on one port - ingest, live reads, server-sent events, health, metrics, the page.
//
// Boost.Beast stays behind this header. Runs on its own threads; every handler is a coroutine on
// one of them and never blocks.
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
#include "query/query_engine.h"

namespace sightline {

struct ServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 8080;  // 0: any free one, see Server::port()
  int32_t threads = 1;
  int64_t body_bytes_max = 16 << 20;           // of a POST, both compressed and uncompressed
  int64_t ingest_memory_bytes_max = 64 << 20;  // of all bodies in work; beyond it 429
  int32_t connections_max = 4'096;
  int32_t queries_max = 4;                      // of the lake at a time
  int32_t queries_waiting_max = 64;             // for their turn; beyond it 429
  int64_t answer_memory_bytes_max = 256 << 20;  // of the lake's answers together; beyond it 503
  Millis idle_timeout{60'000};                  // of a connection without a request
  Millis header_timeout{10'000};  // from a request's first byte to the end of its headers
  Millis body_timeout{60'000};    // from there to the end of its body
  Millis stall_timeout{30'000};   // of a client that takes nothing of its answer or stream
  std::string web_dir;            // serve the page's files from here instead of the built-in ones
};

struct ServerPorts {
  DetectionLog* log = nullptr;
  const Live* live = nullptr;
  Hub* hub = nullptr;
  QueryEngine* query = nullptr;  // null: there is no lake, and what asks it gets 404
  const Clock* clock = nullptr;
  std::function<std::vector<Metric>()> metrics;  // of the other rooms
  std::function<Health()> health;
  std::function<Health()> alive;  // whether the process's main loop is
  std::function<Health()> ready;  // whether it can do its work now
  // Why live's numbers cannot be told yet: a 503 says it. Empty, or null: they can.
  std::function<std::string()> live_not_ready;
  std::function<std::string(const Scope&)> alerts;  // active ones as JSON; null: none are known
};

class Server {
 public:
  // Binds and starts. kStop if the address is in use or not allowed.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                               const PipelineSpec& spec, ServerPorts ports);
  ~Server();  // Stop()
  // Refuses new requests, finishes those under way for at most `grace`, ends streams, joins.
  void Stop(Millis grace);
  uint16_t port() const;

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
