// CopyRunner: runs a KafkaCopy on a thread of its own. After an error it opens the copy again,
// until the copy is complete, the runner is destroyed, or the error needs a person.
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

// Thread-safe except for construction and destruction.
class CopyRunner {
 public:
  // Opens a copy and begins it. Called on the runner's thread. Must return soon when `stop` is
  // true.
  using Open = std::function<Result<std::unique_ptr<KafkaCopy>>(const std::atomic<bool>& stop)>;
  explicit CopyRunner(Open open);
  ~CopyRunner();  // the next copy continues behind what is committed
  CopyRunner(const CopyRunner&) = delete;
  CopyRunner& operator=(const CopyRunner&) = delete;

  // Nothing: the copy is running. kOk: everything is copied. Otherwise: why the copy ended.
  std::optional<Status> ended() const;
  KafkaCopyStats stats() const;  // the sums are those since the construction
  std::string trouble() const;   // why the copy is not running now; empty: it is
  // Returns a line for people, or nothing if no record was copied since the last call.
  std::string Progress();

  void ReportHealth(Health& health) const;  // for /healthz and /readyz
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
  // Under mutex_.
  KafkaCopyStats stats_;   // of the copy that is running
  KafkaCopyStats before_;  // sums of the copies that have ended
  int64_t rebuilt_ = 0;
  std::string trouble_ = "it has not started";
  std::optional<Status> ended_;
  int64_t reported_ms_ = 0, reported_read_ = 0;  // of the last Progress()

  std::thread thread_;  // last, because it uses the other members
};

}  // namespace sightline
