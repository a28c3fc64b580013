// ServiceShell: what every long-running process has around its work. That is the monitor with its
// alerts, the HTTP server with probes and metrics, and the main loop that waits for SIGTERM. It
// also reports what is wrong with the clock, and takes `sightline clock accept`.
//
// Call Open() first, because the work may need alerts_version(); then Serve() or ServeProbes();
// then StartMonitor(). Stop() ends whatever was started. One thread uses the shell. The threads of
// the server and of the monitor call the functions of ServiceReports until Stop() returns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log_clock.h"
#include "base/metric.h"
#include "base/status.h"
#include "config/options.h"
#include "processes/probe_server.h"
#include "processes/process.h"
#include "server/server.h"
#include "telemetry/monitor.h"

namespace sightline {

// What the work of a process reports about itself.
struct ServiceReports {
  std::function<void(MonitorReport&)> sample;         // once a second
  std::function<void(std::vector<Metric>&)> metrics;  // adds to the metrics of the monitor
  std::function<Health()> health;
  std::function<Health()> ready;
};

class ServiceShell {
 public:
  // `settings` and `clock` must outlive the shell. `step` names the process in alerts and
  // monitoring.
  ServiceShell(const Settings& settings, std::string step, LogClock& clock, ServiceReports reports);
  ~ServiceShell();
  ServiceShell(const ServiceShell&) = delete;
  ServiceShell& operator=(const ServiceShell&) = delete;

  // kStop: the client refuses the settings of the monitoring topics.
  Status Open();
  // Grows when an alert starts or ends. Thread-safe.
  int64_t alerts_version() const { return monitor_->version(); }

  // Starts the server of the page and the API. The caller sets log, live, hub, query and
  // live_not_ready of `ports`; the shell sets the rest. kStop: it cannot listen at the address.
  Status Serve(ServerPorts ports);
  // Does the same for a process without a page: it serves probes, /metrics and /v1/alerts only.
  Status ServeProbes();
  // Takes the first sample, so everything that ServiceReports reads must exist.
  void StartMonitor();

  // Returns on SIGTERM or SIGINT, or with the status of `tick` as soon as that is not kOk. `tick`
  // is called every `interval`.
  Status WaitForStop(Millis interval, const std::function<Status()>& tick);

  // Ends the server, which gives requests under way at most `grace`, and the monitor.
  void Stop(Millis grace);
  // Call it after Stop(). Frees the server, which may use what the work gave it until then.
  void Release();

  const std::string& url() const { return url_; }

 private:
  std::vector<Metric> CollectMetrics() const;
  Health ReportHealth() const;
  Health ReportReadiness() const;
  void HearAcceptance();

  const Settings& settings_;
  const std::string step_;
  LogClock& clock_;
  const ServiceReports reports_;
  LivenessProbe liveness_;
  std::unique_ptr<Monitor> monitor_;
  // One of the two exists.
  std::unique_ptr<Server> server_;
  std::unique_ptr<ProbeServer> probes_;
  std::string url_;
  std::string boot_;  // names this start in /healthz
};

}  // namespace sightline
