#include "processes/probe_server.h"

#include "processes/process.h"

namespace sightline {
namespace {

constexpr Millis kServerStop{500};

}  // namespace

Result<std::unique_ptr<BareServer>> BareServer::Start(const Settings& options, const Clock& clock,
                                                      BareServerPorts ports) {
  std::unique_ptr<BareServer> bare(new BareServer());
  bare->live_ = std::make_unique<Live>(LiveOptions{.pane_size = options.pipeline.pane_size,
                                                   .window_size = options.pipeline.window_size,
                                                   .log_end = nullptr},
                                       &clock);
  bare->hub_ = std::make_unique<Hub>(bare->live_.get(), &clock,
                                     HubOptions{.alerts_version = std::move(ports.alerts_version)});
  Result<std::unique_ptr<Server>> server =
      StartServer(options, {.log = &bare->no_detections_,
                            .live = bare->live_.get(),
                            .hub = bare->hub_.get(),
                            .query = nullptr,
                            .clock = &clock,
                            .metrics = std::move(ports.metrics),
                            .health = std::move(ports.health),
                            .alive = std::move(ports.alive),
                            .ready = std::move(ports.ready),
                            .alerts = std::move(ports.alerts)});
  if (!server.ok()) return server.status();
  bare->server_ = std::move(server).value();
  bare->url_ = UrlOf(options, *bare->server_);
  return bare;
}

BareServer::~BareServer() { Stop(); }

void BareServer::Stop() {
  if (server_) server_->Stop(kServerStop);
}

}  // namespace sightline
