// Runtime: steps the tasks of all partitions on a few threads.
//
// A partition belongs to one thread for its life, and its task is touched by that thread only. The
// runtime adds what tasks must not have: threads, waiting, a clock and rebuilding. kRetry waits and
// goes on; kRebuild destroys the task and its ports and has the factory make new ones, which is the
// only recovery; kStop stops that partition alone and is told to a person.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/partition_task.h"

namespace sightline {

// Makes the task of one partition with new ports. Called on the partition's thread.
using TaskFactory = std::function<Result<std::unique_ptr<PartitionTask>>(size_t partition)>;

struct RuntimeOptions {
  int32_t threads = 1;
  // Called on the partition's thread when TaskStatus::at_end changes; must be quick.
  std::function<void(size_t partition, bool at_end)> on_at_end;
};

struct PartitionStatus {
  TaskStatus task;
  bool stopped = false;    // kStop: waits for a person
  std::string reason;      // of `stopped`, or why it was rebuilt or retried last
  int64_t failing_ms = 0;  // how long nothing has worked since a kRetry or kRebuild; 0: it works
  int64_t rebuilds = 0;
};

// Thread-safe.
class Runtime {
 public:
  Runtime(size_t partitions, RuntimeOptions options, TaskFactory factory);
  ~Runtime();  // stops without draining
  void Start();

  // There may be more to read, or a port that said kRetry has an answer. From any thread.
  void Wake(size_t partition);

  // Everything that was read is committed to every sink and in a checkpoint, then the threads end.
  // False if it was not done in `deadline_ms`; the next start does what is missing.
  bool Drain(int64_t deadline_ms);

  std::vector<PartitionStatus> Snapshot() const;

 private:
  struct Slot;
  struct Worker;
  void Run(Worker& worker);
  // True: it worked; false: nothing to do before slot.due_ms.
  bool StepSlot(Slot& slot, int64_t now_ms);
  void BuildTask(Slot& slot, int64_t now_ms);
  void TakeStatus(Slot& slot, const Status& status, int64_t now_ms);
  void Publish(Slot& slot, int64_t now_ms);

  const RuntimeOptions options_;
  const TaskFactory factory_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace sightline
