// ServiceShell: what every long-running process has around its work: the monitor with its alerts,
// the HTTP server with probes and metrics, and the main loop that waits for SIGTERM.
//
// Open() comes first: the work may ask for alerts_version(). Then Serve() or ServeProbes(), then
// StartMonitor(). What is wrong with the clock is reported here, and `sightline clock accept` is
// heard. Stop() ends what was started, whatever that is. One thread uses it; the functions
// of ServiceReports are called on the threads of the server and of the monitor, until Stop()
// returns.
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

// What the work reports about itself.
struct ServiceReports {
  std::function<void(MonitorReport&)> sample;         // once a second
  std::function<void(std::vector<Metric>&)> metrics;  // adds its own to those of the monitor
  std::function<Health()> health;
  std::function<Health()> ready;
};

class ServiceShell {
 public:
  // `settings` and `clock` outlive it. `step`: the name of the process in alerts and monitoring.
  ServiceShell(const Settings& settings, std::string step, LogClock& clock, ServiceReports reports);
  ~ServiceShell();
  ServiceShell(const ServiceShell&) = delete;
  ServiceShell& operator=(const ServiceShell&) = delete;

  // kStop: the settings of the monitoring topics are refused.
  Status Open();
  // Grows when an alert starts or ends. Thread-safe.
  int64_t alerts_version() const { return monitor_->version(); }

  // Starts the server of the page and the API. `ports` has what the work gives to it: log, live,
  // hub, query and live_not_ready; the shell adds the rest. kStop: it cannot listen there.
  Status Serve(ServerPorts ports);
  // The same for a process without a page: probes, /metrics and /v1/alerts only.
  Status ServeProbes();
  // The first sample is taken now: what ServiceReports reads must be there.
  void StartMonitor();

  // Until SIGTERM or SIGINT, or until `tick`, which is called every `interval`, says something else
  // than kOk, which is returned.
  Status WaitForStop(Millis interval, const std::function<Status()>& tick);

  // Ends the server, after `grace` at most for requests under way, and the monitor.
  void Stop(Millis grace);
  // After Stop(): frees the server, which may hold on to what the work gave to it until then.
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
  // One of the two.
  std::unique_ptr<Server> server_;
  std::unique_ptr<ProbeServer> probes_;
  std::string url_;
  std::string boot_;  // of this start, as /healthz reports it
};

}  // namespace sightline
