// Connection: one client of the server, from its first byte to its last.
//
// A connection belongs to one worker: its coroutines run on that thread only, so nothing in here is
// locked. Requests of one connection are answered one after the other, in order.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "ingest/ingest.h"
#include "server/body.h"
#include "server/call_pool.h"
#include "server/page.h"
#include "server/server.h"
#include "server/server_metrics.h"

namespace sightline {

// What all connections share. Thread-safe.
struct ServerContext {
  ServerContext(const ServerOptions& options, Millis pane_size, bool loopback, ServerPorts ports)
      : options(options),
        pane_size(pane_size),
        loopback(loopback),
        ports(std::move(ports)),
        page(options.web_dir),
        ingest_memory(options.ingest_memory_bytes_max),
        answer_memory(options.answer_memory_bytes_max),
        calls(std::make_unique<CallPool>(ports.query == nullptr ? 0 : options.queries_max,
                                         static_cast<size_t>(options.queries_waiting_max))) {}

  const ServerOptions options;
  const Millis pane_size;
  const bool loopback;  // the server listens on this machine only
  const ServerPorts ports;
  const Page page;
  MemoryBudget ingest_memory;
  MemoryBudget answer_memory;
  ServerMetrics metrics;
  std::unique_ptr<CallPool> calls;  // that ask the lake
  std::atomic<bool> stopping = false;

  // Stop() waits here for metrics.connections to become 0.
  std::mutex closed_mutex;
  std::condition_variable closed;
};

class Connection;

// One thread and what belongs to it.
struct Worker {
  Worker(ServerContext* context, TimeUnit timestamp_unit)
      : context(context), scratch(timestamp_unit) {}

  ServerContext* const context;
  IngestScratch scratch;
  std::unordered_set<Connection*> connections;  // before `io`, whose end ends them
  boost::asio::io_context io{1};
};

class Connection {
 public:
  // Serves `socket` until it ends; on the worker's thread. `refused`: beyond connections_max, it
  // only learns that. metrics.connections has counted it already; its destructor counts it down.
  static void Start(boost::asio::ip::tcp::socket socket, Worker* worker, bool refused);

  virtual ~Connection() = default;
  // The server stops: idle connections and streams end now, requests under way are answered first.
  virtual void BeginShutdown() = 0;
  // The worker's thread is gone: nothing may wake this any more.
  virtual void CloseWakeups() = 0;
};

}  // namespace sightline
