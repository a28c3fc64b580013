// Connection: serves one client, from its first byte to its last.
//
// A connection belongs to one worker. Its coroutines run on that worker's thread only, so nothing
// here needs a lock. It answers its requests one after the other, in order.
#pragma once

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "ingest/ingest.h"
#include "server/body.h"
#include "server/call_pool.h"
#include "server/page.h"
#include "server/server.h"
#include "server/server_metrics.h"
#include "server/waiting_connections.h"

namespace sightline {

// Makes an operation awaitable, with its error as the first value.
constexpr auto kAwaitToken = boost::asio::as_tuple(boost::asio::use_awaitable);

// Shared by all connections. Thread-safe.
struct ServerContext {
  ServerContext(const ServerOptions& options, Millis pane_size, bool loopback, ServerPorts ports)
      : options(options),
        pane_size(pane_size),
        loopback(loopback),
        ports(std::move(ports)),
        page(options.web_dir),
        ingest_memory(options.ingest_memory_bytes_max),
        answers(options.answer_memory_bytes_max, options.answer_disk_bytes_max),
        sql_calls(Calls(options.queries_max, options.queries_per_client_max)),
        fixed_calls(Calls(kFixedQueriesMax, kFixedQueriesMax)) {}

  const ServerOptions options;
  const Millis pane_size;
  const bool loopback;  // the server listens on a loopback address
  const ServerPorts ports;
  const Page page;
  MemoryBudget ingest_memory;
  SpoolBudget answers;
  ServerMetrics metrics;
  WaitingConnections waiting;
  std::atomic<int64_t> leaving =
      0;  // connections that were taken from `waiting` and are not gone yet
  // Run what asks the lake. The fixed questions of the page and the API do not wait for SQL.
  std::unique_ptr<CallPool> sql_calls, fixed_calls;
  std::atomic<bool> stopping = false;

  // Stop() waits here for metrics.connections to become 0.
  std::mutex closed_mutex;
  std::condition_variable closed;

 private:
  static constexpr int32_t kFixedQueriesMax = 2;
  std::unique_ptr<CallPool> Calls(int32_t running_max, int32_t per_client_max) const {
    return std::make_unique<CallPool>(
        CallPoolOptions{.threads = ports.queries == nullptr ? 0 : running_max,
                        .waiting_max = static_cast<size_t>(options.queries_waiting_max),
                        .per_client_max = per_client_max});
  }
};

class Connection;

// One thread and the connections that it serves.
struct Worker {
  Worker(ServerContext* context, const DecodeRules& rules) : context(context), scratch(rules) {}

  ServerContext* const context;
  IngestScratch scratch;
  std::unordered_set<Connection*> connections;  // outlives `io`, which destroys the connections
  boost::asio::io_context io{1};
};

class Connection {
 public:
  // Serves `socket` until it closes; call it on the worker's thread. A `refused` connection exceeds
  // connections_max: its requests are answered with 503. The caller has counted the connection in
  // metrics.connections; its destructor counts it out.
  static void Start(boost::asio::ip::tcp::socket socket, Worker* worker, bool refused);

  virtual ~Connection() = default;
  // The server stops: ends an idle connection or a stream now, and a request after its answer.
  virtual void BeginShutdown() = 0;
  // The server is full, and the connection still waits for a request as it did when
  // WaitingConnections gave this ticket: closes it, and counts it out of `leaving` when it is gone.
  // False: it no longer waits, and stays. On the worker's thread.
  virtual bool CloseIfWaiting(int64_t ticket) = 0;
  // Call it when the worker's thread has ended: nothing may wake the connection any more.
  virtual void CloseWakeups() = 0;
};

}  // namespace sightline
