#include "processes/process.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <utility>

#include "base/log.h"
#include "telemetry/monitor.h"

namespace sightline {
namespace {

// Longer than anything that the loop waits for: a hand-over, an answer of a cluster.
constexpr Millis kSilenceMax{60'000};

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

void BlockSignals() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool StopAsked() {
  sigset_t pending;
  return sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

Status WaitForStop(Millis interval, const std::function<Status()>& tick) {
  const sigset_t signals = StopSignals();
  const timespec wait{interval.v / 1'000, interval.v % 1'000 * 1'000'000};
  while (sigtimedwait(&signals, nullptr, &wait) < 0) RETURN_IF_ERROR(tick());
  return Status::Ok();
}

LivenessProbe::LivenessProbe() { Beat(); }
void LivenessProbe::Beat() { beat_ms_ = SteadyMs(); }

Health LivenessProbe::ReportHealth() const {
  const int64_t silent_ms = SteadyMs() - beat_ms_;
  if (silent_ms < kSilenceMax.v) return {};
  return {.ok = false,
          .reasons = {fmt::format("the main loop has not run for {} s", silent_ms / 1'000)}};
}

Result<std::unique_ptr<Server>> StartServer(const Settings& options, ServerPorts ports) {
  const ListenAddress listen = ParseListen(options.listen).value();
  // A larger body might never find room beside the others, and its sender would retry for ever.
  const int64_t body_max = std::min(options.server.body_max, options.server.memory_max / 2);
  if (body_max < options.server.body_max)
    LogWarning(
        fmt::format("request bodies are limited to {}, half of server.memory_max, "
                    "instead of server.body_max",
                    FormatBytes(body_max)));
  return Server::Start({.address = listen.address,
                        .port = listen.port,
                        .threads = static_cast<int32_t>(options.server.threads),
                        .body_bytes_max = body_max,
                        .ingest_memory_bytes_max = options.server.memory_max,
                        .connections_max = static_cast<int32_t>(options.server.connections_max),
                        .allowed_hosts = options.server.allowed_hosts,
                        .public_origin = options.server.public_origin,
                        .cors_origins = options.server.cors_origins,
                        .queries_max = static_cast<int32_t>(options.query.running_max),
                        // So that one cannot take all.
                        .queries_per_client_max = static_cast<int32_t>(
                            std::max<int64_t>(1, options.query.running_max / 2)),
                        .queries_waiting_max = static_cast<int32_t>(options.query.waiting_max),
                        .answer_memory_bytes_max = options.query.answer_memory_max,
                        .answer_disk_bytes_max = options.query.answer_disk_max,
                        .web_dir = options.web_dir},
                       options.pipeline, std::move(ports));
}

std::string UrlOf(const Settings& options, const Server& server) {
  const ListenAddress listen = ParseListen(options.listen).value();
  // A server that listens on every address can be reached on the loopback address.
  const std::string address = listen.address == "0.0.0.0" ? "127.0.0.1"
                              : listen.address == "::"    ? "::1"
                                                          : listen.address;
  const bool v6 = address.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", server.port());
}

}  // namespace sightline
