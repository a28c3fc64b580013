// Monitor: once a second a sample of this process, the alerts that it gives rise to, and what is
// published of both. Its own thread: nothing waits for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/metric.h"
#include "config/options.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"
#include "model/scope.h"
#include "monitor/activity.h"
#include "monitor/alerts.h"

namespace sightline {

// Of the clock of MonitorSample::now_ms: it does not go backwards.
int64_t SteadyMs();

// Absolute numbers by name, for `monitoring`.
using MonitorNumbers = std::vector<std::pair<std::string, int64_t>>;

struct MonitorReport {
  MonitorSample sample;
  MonitorNumbers numbers;
  Ledger ledger;  // as it is published
};

// Thread-safe but for Start() and Stop().
class Monitor {
 public:
  // `report` is called on the monitor's thread, with `sample.now_ms` and `wall_ms` set. `clock`
  // outlives it. kStop: the options of the topics are refused.
  static Result<std::unique_ptr<Monitor>> Open(const Settings& options, std::string step,
                                               const Clock& clock,
                                               std::function<void(MonitorReport&)> report);
  ~Monitor();  // Stop()

  // `instance`: of this process among those of its step; `boot`: of this start.
  void Start(std::string instance, std::string boot);
  // Ends what is active: nobody watches it any more.
  void Stop();

  // {"version":3,"alerts":[...]} of those that the scope sees; see docs/PROTOCOL.md.
  std::string ActiveJson(const Scope& scope) const;
  int64_t version() const;  // grows when an alert starts or ends
  void CollectMetrics(std::vector<Metric>& metrics) const;

 private:
  struct State;
  explicit Monitor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The partitions of a runtime, whose tasks have `sinks`. `end_of`: of the log that they read; null:
// not known.
void SampleEngine(const std::vector<PartitionHealth>& partitions,
                  const std::vector<SinkOptions>& sinks,
                  const std::function<Offset(const SourcePartition&)>& end_of,
                  MonitorReport& report);
// Memory of this process and its limit, and the disk of `folder`.
void SampleSystem(const std::string& folder, MonitorReport& report);
void SampleKafka(const KafkaWriterStats& stats, MonitorReport& report);
// alerts.instance, or this host and the port of `url`.
std::string InstanceOf(const AlertSettings& settings, const std::string& url);

}  // namespace sightline
