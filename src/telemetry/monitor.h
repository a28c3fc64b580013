// Monitor: samples this process once a second, evaluates the rules of the alerts, and publishes
// both. It has a thread of its own, and nothing waits for it.
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
#include "model/log_end.h"
#include "model/scope.h"
#include "monitor/activity.h"
#include "monitor/alerts.h"

namespace sightline {

// The clock of MonitorSample::now_ms. It does not go backwards.
int64_t SteadyMs();

// Absolute numbers by name, for the topic `monitoring`.
using MonitorNumbers = std::vector<std::pair<std::string, int64_t>>;

struct MonitorReport {
  MonitorSample sample;
  MonitorNumbers numbers;
  Ledger ledger;  // as it is published
};

// Thread-safe except for Start() and Stop().
class Monitor {
 public:
  // The monitor calls `report` on its thread, with `sample.now_ms` and `wall_ms` set. `clock` must
  // outlive the monitor. kStop: the settings of the topics are not valid.
  static Result<std::unique_ptr<Monitor>> Open(const AlertSettings& alerts,
                                               const KafkaSettings& kafka, std::string step,
                                               const Clock& clock,
                                               std::function<void(MonitorReport&)> report);
  ~Monitor();  // Stop()

  // `instance` identifies this process among those of its step, `boot` this start of it.
  void Start(std::string instance, std::string boot);
  // Ends all active alerts, because nobody watches them from now on.
  void Stop();

  // Returns {"version":3,"alerts":[...]} with the alerts that the scope sees (docs/PROTOCOL.md).
  std::string ActiveJson(const Scope& scope) const;
  int64_t version() const;  // grows when an alert starts or ends
  void CollectMetrics(std::vector<Metric>& metrics) const;

 private:
  struct State;
  explicit Monitor(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Adds the partitions of a runtime whose tasks have `sinks`. `end_of` returns the end of the log
// that a partition reads. Null: it is not known. Returns the newest append time of these ends.
AppendTime SampleEngine(const std::vector<PartitionHealth>& partitions,
                        const std::vector<SinkOptions>& sinks,
                        const std::function<LogEnd(const SourcePartition&)>& end_of,
                        MonitorReport& report);
// Adds the memory of this process with its limit, and the disk of `folder`.
void SampleSystem(const std::string& folder, MonitorReport& report);
// What the append time of the newest record, which a broker has given, says about the clocks of
// that broker and of this machine. Nothing is wrong if there is none.
ClockSample CompareBrokerClock(AppendTime newest, int64_t now_ms);
void SampleKafka(const KafkaWriterStats& stats, MonitorReport& report);
// Returns alerts.instance, or this host and the port of `url` if that is empty.
std::string InstanceOf(const AlertSettings& settings, const std::string& url);

}  // namespace sightline
