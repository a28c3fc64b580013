// CopyRunner: a KafkaCopy on a thread of its own, opened again after whatever went wrong, until it
// is done, told to stop, or a person is needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/metric.h"
#include "base/status.h"
#include "connectors/kafka/copy.h"
#include "telemetry/monitor.h"

namespace sightline {

// Thread-safe but for construction and destruction.
class CopyRunner {
 public:
  // One that has begun. Called on the runner's thread; should end soon when `stop` is true.
  using Open = std::function<Result<std::unique_ptr<KafkaCopy>>(const std::atomic<bool>& stop)>;
  explicit CopyRunner(Open open);
  ~CopyRunner();  // what is not committed is copied by the next one
  CopyRunner(const CopyRunner&) = delete;
  CopyRunner& operator=(const CopyRunner&) = delete;

  // Nothing: it runs. kOk: everything is copied; otherwise why it ended.
  std::optional<Status> ended() const;
  KafkaCopyStats stats() const;  // sums are since the construction
  std::string trouble() const;   // why it does not run now; empty: it does
  // A line for people, when there is something new to say since the last call.
  std::string Progress();

  void ReportHealth(Health& health) const;  // what is wrong, also for readiness
  void CollectMetrics(std::vector<Metric>& metrics) const;
  void Sample(MonitorReport& report) const;

 private:
  void Run();
  Status RunOnce(std::unique_ptr<KafkaCopy>& copy);
  void Publish(const KafkaCopy& copy);
  void KeepSums();
  bool Failed(const Status& status);

  const Open open_;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  KafkaCopyStats stats_;   // of the copy that runs; under mutex_, as all below
  KafkaCopyStats before_;  // sums of those that ended
  int64_t rebuilt_ = 0;
  std::string trouble_ = "it has not begun";
  std::optional<Status> ended_;
  int64_t told_ms_ = 0, told_read_ = 0;
  std::thread thread_;  // last: uses the rest
};

}  // namespace sightline
