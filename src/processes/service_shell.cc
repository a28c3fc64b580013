#include "processes/service_shell.h"

#include <utility>

namespace sightline {

ServiceShell::ServiceShell(const Settings& settings, std::string step, const Clock& clock,
                           ServiceReports reports)
    : settings_(settings), step_(std::move(step)), clock_(clock), reports_(std::move(reports)) {}

ServiceShell::~ServiceShell() {
  Stop(Millis{0});
  Release();
}

Status ServiceShell::Open() {
  Result<std::unique_ptr<Monitor>> monitor =
      Monitor::Open(settings_.alerts, settings_.kafka, step_, clock_, reports_.sample);
  if (!monitor.ok()) return monitor.status();
  monitor_ = std::move(monitor).value();
  return Status::Ok();
}

Status ServiceShell::Serve(ServerPorts ports) {
  boot_ = ports.hub->boot();
  ports.clock = &clock_;
  ports.metrics = [this] { return CollectMetrics(); };
  ports.health = reports_.health;
  ports.alive = [this] { return liveness_.ReportHealth(); };
  ports.ready = reports_.ready;
  ports.alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); };
  Result<std::unique_ptr<Server>> server = StartServer(settings_, std::move(ports));
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  url_ = UrlOf(settings_, *server_);
  return Status::Ok();
}

Status ServiceShell::ServeProbes() {
  Result<std::unique_ptr<ProbeServer>> probes = ProbeServer::Start(
      settings_, clock_,
      {.metrics = [this] { return CollectMetrics(); },
       .health = reports_.health,
       .alive = [this] { return liveness_.ReportHealth(); },
       .ready = reports_.ready,
       .alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); },
       .alerts_version = [this] { return alerts_version(); }});
  if (!probes.ok()) return probes.status();
  probes_ = std::move(probes).value();
  url_ = probes_->url();
  boot_ = probes_->boot();
  return Status::Ok();
}

void ServiceShell::StartMonitor() { monitor_->Start(InstanceOf(settings_.alerts, url_), boot_); }

Status ServiceShell::WaitForStop(Millis interval, const std::function<Status()>& tick) {
  return sightline::WaitForStop(interval, [&] {
    liveness_.Beat();
    return tick();
  });
}

void ServiceShell::Stop(Millis grace) {
  if (server_) server_->Stop(grace);
  if (probes_) probes_->Stop();
  if (monitor_) monitor_->Stop();
}

void ServiceShell::Release() {
  server_.reset();
  probes_.reset();
}

std::vector<Metric> ServiceShell::CollectMetrics() const {
  std::vector<Metric> metrics;
  monitor_->CollectMetrics(metrics);
  reports_.metrics(metrics);
  return metrics;
}

}  // namespace sightline
