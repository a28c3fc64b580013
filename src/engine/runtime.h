// Runtime: steps the tasks of many partitions on a few threads.
//
// A partition belongs to one thread as long as it is here; on a thread the partitions have their
// turns, a Step each. kRebuild: the task and its ports are thrown away and the factory builds new
// ones, after a while that grows up to 1 s as long as tasks do not live long. kStop: that partition
// stops and says why, the others go on. A thread with nothing to do sleeps until a task is due or
// woken.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/partition_task.h"
#include "model/types.h"

namespace sightline {

// Builds a task with new ports. Called on the partition's thread, which waits for it. kStop stops
// the partition; anything else is tried again.
using TaskFactory = std::function<Result<std::unique_ptr<PartitionTask>>(const SourcePartition&)>;

struct RuntimeOptions {
  int threads = 1;  // at most as many as there are partitions at the start, if there are any
  // The longest sleep: a net for sources that cannot wake their task.
  int64_t sleep_ms_max = 1'000;
};

enum class TaskHealth : uint8_t {
  kStarting,  // no task yet, or it is claiming, fencing, loading
  kRunning,
  kDrained,  // by Drain(): everything read is in every sink and in a checkpoint
  kStopped,  // for a person, or by Drain() before it was drained; `reason` says why
};

struct PartitionHealth {
  SourcePartition partition;
  TaskHealth health = TaskHealth::kStarting;
  std::string reason;  // of kStopped; otherwise the newest kRetry or kRebuild, if there was one
  int64_t rebuilds = 0;
  TaskStatus task;  // of the newest task, at most about 50 ms old
};

// Thread-safe but for Add(), Remove(), Drain() and the destructor, which are the owner's.
class Runtime {
 public:
  // Starts the threads.
  Runtime(std::vector<SourcePartition> partitions, TaskFactory factory, RuntimeOptions options);
  // Stops after the Steps in hand, without draining: what is lost is replayed at the next start.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // There is something to do: more to read, or a port that said kRetry is ready. Cheap; never waits
  // for a Step. Does not shorten the wait before a rebuild. Unknown partitions are ignored.
  void Wake(const SourcePartition& partition);
  void WakeAll();

  // Stops reading, commits everything and puts checkpoints; waits for it at most `deadline_ms` and
  // ends the threads. True if every partition that had not stopped before is drained.
  bool Drain(int64_t deadline_ms);

  // A partition that comes after the start, to the thread with the fewest. Nothing if it is here.
  void Add(const SourcePartition& partition);
  // Drains the partitions, for at most `deadline_ms` together, and throws their tasks away; they
  // are gone when it returns. What was not committed is counted again by the next owner. True if
  // all were drained; those that are not here are.
  bool Remove(const std::vector<SourcePartition>& partitions, int64_t deadline_ms);

  std::vector<PartitionHealth> Snapshot() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
