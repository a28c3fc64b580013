#include "processes/probe_server.h"

#include "processes/process.h"

namespace sightline {
namespace {

constexpr Millis kServerStop{500};

}  // namespace

Result<std::unique_ptr<ProbeServer>> ProbeServer::Start(const Settings& options, const Clock& clock,
                                                        ProbeServerPorts ports) {
  std::unique_ptr<ProbeServer> probe(new ProbeServer());
  probe->live_ = std::make_unique<Live>(LiveOptions{.pane_size = options.pipeline.pane_size,
                                                    .window_size = options.pipeline.window_size,
                                                    .log_end = nullptr},
                                        &clock);
  probe->hub_ = std::make_unique<Hub>(
      probe->live_.get(), &clock, HubOptions{.alerts_version = std::move(ports.alerts_version)});
  Result<std::unique_ptr<Server>> server =
      StartServer(options, {.log = &probe->no_detections_,
                            .live = probe->live_.get(),
                            .hub = probe->hub_.get(),
                            .queries = nullptr,
                            .clock = &clock,
                            .metrics = std::move(ports.metrics),
                            .health = std::move(ports.health),
                            .alive = std::move(ports.alive),
                            .ready = std::move(ports.ready),
                            .alerts = std::move(ports.alerts)});
  if (!server.ok()) return server.status();
  probe->server_ = std::move(server).value();
  probe->url_ = UrlOf(options, *probe->server_);
  return probe;
}

ProbeServer::~ProbeServer() { Stop(); }

void ProbeServer::Stop() {
  if (server_) server_->Stop(kServerStop);
}

}  // namespace sightline
