#include "server/server.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "server/connection.h"

namespace sightline {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// At most this many connections beyond connections_max get a 503; any more are closed at once.
constexpr int64_t kRefusedMax = 64;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);  // e.g. out of file descriptors

}  // namespace

struct Server::State {
  State(const ServerOptions& options, const PipelineSpec& spec, ServerPorts ports, bool loopback)
      : context(options, spec.pane_size, loopback, std::move(ports)) {
    for (int32_t i = 0; i < options.threads; ++i)
      workers.push_back(std::make_unique<Worker>(&context, spec.decode));
    acceptor = std::make_unique<tcp::acceptor>(workers.front()->io);
  }

  Status Listen(const tcp::endpoint& endpoint);
  void Run();
  bool MakeRoom();
  asio::awaitable<void> Accept();

  ServerContext context;
  std::vector<std::unique_ptr<Worker>> workers;  // after context, which they use
  std::unique_ptr<tcp::acceptor> acceptor;       // on the first worker's thread
  std::vector<std::thread> threads;
  uint16_t port = 0;
};

Status Server::State::Listen(const tcp::endpoint& endpoint) {
  boost::system::error_code error;
  acceptor->open(endpoint.protocol(), error);
  if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (!error) port = acceptor->local_endpoint(error).port();
  if (!error) return Status::Ok();
  return Status::Stop(fmt::format(
      "cannot listen on \"{}:{}\": {}; stop the program that uses it, or choose another address "
      "or port (listen)",
      endpoint.address().to_string(), endpoint.port(), error.message()));
}

void Server::State::Run() {
  asio::co_spawn(workers.front()->io, Accept(), asio::detached);
  for (const auto& worker : workers) {
    threads.emplace_back([io = &worker->io] {
      const auto guard = asio::make_work_guard(*io);  // run() goes on without connections
      io->run();
    });
  }
}

// Closes a connection that only waits, if there is one. It is gone a moment later. `leaving` counts
// it until then, so that nobody else has to leave for the same newcomer.
bool Server::State::MakeRoom() {
  const std::optional<WaitingConnections::Waiting> longest = context.waiting.Take();
  if (!longest) return false;
  ++context.leaving;
  asio::post(longest->worker->io, [this, waiting = *longest] {
    const auto connection = waiting.connection.lock();
    if (connection != nullptr && connection->CloseIfWaiting(waiting.ticket)) {
      ++context.metrics.connections_evicted;
    } else {
      --context.leaving;
    }
  });
  return true;
}

asio::awaitable<void> Server::State::Accept() {
  bool failing = false;
  for (size_t turn = 0; !context.stopping; ++turn) {
    Worker* const worker = workers[turn % workers.size()].get();
    tcp::socket socket(worker->io);
    auto [error] = co_await acceptor->async_accept(socket, kAwaitToken);
    if (context.stopping) co_return;
    if (error) {
      // Logged once, not for every attempt.
      if (!failing)
        LogWarning(fmt::format("the server cannot accept connections: {}; it keeps trying",
                               error.message()));
      failing = true;
      asio::steady_timer pause(workers.front()->io, kAcceptPause);
      co_await pause.async_wait(kAwaitToken);
      continue;
    }
    failing = false;
    const bool full =
        context.metrics.connections - context.leaving >= context.options.connections_max;
    const bool refused = full && !MakeRoom();
    if (refused) ++context.metrics.connections_refused;
    // Beyond that the socket is closed here: there is no room even for refusals.
    if (context.metrics.connections >= context.options.connections_max + kRefusedMax) continue;
    ++context.metrics.connections;
    asio::post(worker->io, [socket = std::move(socket), worker, refused]() mutable {
      Connection::Start(std::move(socket), worker, refused);
    });
  }
}

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                              const PipelineSpec& spec, ServerPorts ports) {
  CHECK(ports.log != nullptr && ports.live != nullptr && ports.hub != nullptr);
  CHECK(options.threads >= 1);
  boost::system::error_code error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error) {
    return Status::Stop(fmt::format(
        "\"{}\" is not an IP address to listen on: use 127.0.0.1 or [::1]", options.address));
  }
  auto state = std::make_unique<State>(options, spec, std::move(ports), address.is_loopback());
  RETURN_IF_ERROR(state->Listen({address, options.port}));
  state->Run();
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() { Stop(Millis{0}); }

uint16_t Server::port() const { return state_->port; }

void Server::Stop(Millis grace) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(grace.v);
  ServerContext& context = state_->context;
  if (context.stopping.exchange(true)) return;
  asio::post(state_->workers.front()->io, [acceptor = state_->acceptor.get()] {
    boost::system::error_code ignored;
    acceptor->close(ignored);
  });
  for (const auto& worker : state_->workers) {
    asio::post(worker->io, [worker = worker.get()] {
      for (Connection* connection : worker->connections) connection->BeginShutdown();
    });
  }
  {
    std::unique_lock lock(context.closed_mutex);
    context.closed.wait_until(lock, deadline, [&] { return context.metrics.connections == 0; });
  }
  for (const auto& worker : state_->workers) worker->io.stop();
  for (std::thread& thread : state_->threads) thread.join();
  // Queries run on the pool's threads, which are joined next, so they must end now.
  if (context.ports.queries != nullptr) context.ports.queries->Interrupt();
  context.sql_calls.reset();
  context.fixed_calls.reset();
  // Requests that are still unanswered are dropped with the workers. Other threads may call their
  // wakers at any moment; these must not reach an io_context that is being destroyed.
  for (const auto& worker : state_->workers)
    for (Connection* connection : worker->connections) connection->CloseWakeups();
  state_->acceptor.reset();
  state_->workers.clear();
}

}  // namespace sightline
