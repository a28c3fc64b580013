// StepLoop: one thread that advances every partition of a step until it is removed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/metric.h"
#include "base/status.h"
#include "engine/backoff.h"
#include "model/types.h"
#include "telemetry/monitor.h"

namespace sightline {

// The figures of one partition for /metrics, /healthz and the consumer group.
struct StepFigures {
  bool running = false;
  Offset next{0}, end{0};  // of the topic that is read: the next offset, and the end
  Offset done{-1};         // reported to the group; below 0: nothing yet
  int64_t commits = 0;
  int64_t written = 0;  // messages or rows
  int64_t refused = 0;  // records that Sightline did not write
  int64_t failures = 0;
};

class PartitionStep {
 public:
  virtual ~PartitionStep() = default;
  // Never waits. kOk: there may be more to do at once. kRetry: nothing can be done now. kRebuild:
  // discard the step and open another. kStop: a person must act. While `draining`, nothing more is
  // read; the step is discarded when it is drained(), or after some time.
  virtual Status Step(bool draining) = 0;
  // What is read is committed.
  virtual bool drained() const = 0;
  virtual StepFigures figures() const = 0;
};

// Thread-safe but for construction and destruction.
class StepLoop {
 public:
  // On the loop's thread. `wake` may be called by any.
  using Open =
      std::function<std::unique_ptr<PartitionStep>(int32_t partition, std::function<void()> wake)>;
  explicit StepLoop(Open open);
  ~StepLoop();
  StepLoop(const StepLoop&) = delete;
  StepLoop& operator=(const StepLoop&) = delete;

  void Add(const std::vector<int32_t>& partitions);
  // When it returns they are not touched any more. Waits for what is read to be committed, at most
  // so long.
  void Remove(const std::vector<int32_t>& partitions, Millis drain);

  std::map<int32_t, StepFigures> figures() const;
  // Partitions that are stopped, or that do not start, with the reason.
  void ReportHealth(bool late, Health& health) const;
  // Those that do not run now.
  void ReportReadiness(Health& ready) const;
  void CollectMetrics(std::vector<Metric>& metrics) const;
  void Sample(MonitorReport& report) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Slot {
    // The thread's own.
    std::unique_ptr<PartitionStep> step;
    int64_t opened_ms = 0;
    Backoff backoff;  // of opening it
    // Under mutex_.
    bool removing = false;
    Clock::time_point remove_at;
    bool stopped = false;
    std::string reason;  // why it is stopped, or not running
    StepFigures figures;
    int64_t rebuilt = 0;
  };
  void Run();
  bool RunSlots();
  bool RunSlot(int32_t partition, Slot& slot, std::unique_lock<std::mutex>& lock);
  void Wake();

  const Open open_;
  mutable std::mutex mutex_;
  std::condition_variable removed_;
  std::map<int32_t, Slot> slots_;  // under mutex_; only the thread takes out of it
  // Apart: who wakes may hold what a step waits for.
  std::mutex wake_mutex_;
  std::condition_variable wake_;
  // Under wake_mutex_.
  bool woken_ = false;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace sightline
