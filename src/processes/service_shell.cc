#include "processes/service_shell.h"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <utility>

#include "base/log.h"
#include "config/data_folder.h"

namespace sightline {
namespace {

// An acceptance that differs more from the wall clock is of another clock, or was left here long
// ago.
constexpr int64_t kAcceptedForMs = 600'000;

}  // namespace

ServiceShell::ServiceShell(const Settings& settings, std::string step, LogClock& clock,
                           ServiceReports reports)
    : settings_(settings), step_(std::move(step)), clock_(clock), reports_(std::move(reports)) {}

ServiceShell::~ServiceShell() {
  Stop(Millis{0});
  Release();
}

Status ServiceShell::Open() {
  Result<std::unique_ptr<Monitor>> monitor = Monitor::Open(
      settings_.alerts, settings_.kafka, step_, clock_, [this](MonitorReport& report) {
        reports_.sample(report);
        const LogClock::Trouble trouble = clock_.CheckTrouble();
        report.sample.server_clock = {trouble.text, trouble.wall_ahead_ms};
      });
  if (!monitor.ok()) return monitor.status();
  monitor_ = std::move(monitor).value();
  return Status::Ok();
}

Status ServiceShell::Serve(ServerPorts ports) {
  boot_ = ports.hub->boot();
  ports.clock = &clock_;
  ports.metrics = [this] { return CollectMetrics(); };
  ports.health = [this] { return ReportHealth(); };
  ports.alive = [this] { return liveness_.ReportHealth(); };
  ports.ready = [this] { return ReportReadiness(); };
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
       .health = [this] { return ReportHealth(); },
       .alive = [this] { return liveness_.ReportHealth(); },
       .ready = [this] { return ReportReadiness(); },
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
    HearAcceptance();
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

Health ServiceShell::ReportHealth() const {
  Health health = reports_.health();
  health.FailIf(clock_.CheckTrouble().text);
  return health;
}

Health ServiceShell::ReportReadiness() const {
  Health ready = reports_.ready();
  if (const LogClock::Trouble trouble = clock_.CheckTrouble(); trouble.refuses)
    ready.FailIf(trouble.text);
  return ready;
}

// Takes what `sightline clock accept` has written to the data folder. It may be old, or come from
// another machine that shares the folder.
void ServiceShell::HearAcceptance() {
  const std::optional<int64_t> accepted_ms = DataFolder(settings_.data).TakeAcceptedTime();
  if (!accepted_ms) return;
  const int64_t wall_ms = clock_.NowMs() + clock_.CheckTrouble().wall_ahead_ms;
  if (std::abs(wall_ms - *accepted_ms) > kAcceptedForMs) {
    LogWarning(
        "an acceptance of the clock by `sightline clock accept` is too old, or of another clock");
    return;
  }
  clock_.Accept();
  LogInfo("the machine's clock was accepted by `sightline clock accept`");
}

std::vector<Metric> ServiceShell::CollectMetrics() const {
  std::vector<Metric> metrics;
  metrics.push_back(Metric::Gauge("sightline_clock_ahead_ms",
                                  "How far the machine's clock is ahead of the log's time, in "
                                  "milliseconds, where they differ by "
                                  "an hour or more; otherwise 0.",
                                  clock_.CheckTrouble().wall_ahead_ms));
  monitor_->CollectMetrics(metrics);
  reports_.metrics(metrics);
  return metrics;
}

}  // namespace sightline
