// Runtime: steps the tasks of many partitions on a few threads.
//
// A partition stays on one thread as long as it is here; the partitions of a thread take turns, one
// Step each. After kRebuild the task and its ports are discarded and the factory builds new ones,
// after a delay that grows up to 1 s while tasks die young. After kStop that partition stops and
// reports why, and the others go on. A thread with nothing to do sleeps until a task is due or
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

// Builds a task with new ports. It is called on the partition's thread, which waits for it. kStop
// stops the partition; after any other failure it is called again.
using TaskFactory = std::function<Result<std::unique_ptr<PartitionTask>>(const SourcePartition&)>;

struct RuntimeOptions {
  int threads = 1;  // at most one for each partition that exists at the start, if there are any
  // The longest sleep: a safety net for sources that cannot wake their task.
  int64_t sleep_ms_max = 1'000;
};

enum class TaskHealth : uint8_t {
  kStarting,  // there is no task yet, or it is claiming, fencing or loading
  kRunning,
  kDrained,  // after Drain(): everything that was read is in every sink and in a checkpoint
  kStopped,  // waits for a person, or Drain() ended before it was drained; see `reason`
};

struct PartitionHealth {
  SourcePartition partition;
  TaskHealth health = TaskHealth::kStarting;
  std::string reason;  // of kStopped; otherwise of the newest kRetry or kRebuild, if there was one
  int64_t rebuilds = 0;
  TaskStatus task;  // of the newest task, at most about 50 ms old
};

// Thread-safe, except Add(), Remove(), Drain() and the destructor, which only the owner calls.
class Runtime {
 public:
  // Starts the threads.
  Runtime(std::vector<SourcePartition> partitions, TaskFactory factory, RuntimeOptions options);
  // Stops after the current Steps, without draining. What is lost is replayed at the next start.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Tells a task that there is something to do: more to read, or a port that said kRetry is ready.
  // `called` says which ports call; what waits for others goes on waiting. Cheap: it never waits
  // for a Step. It does not shorten the delay before a rebuild. Unknown partitions are ignored.
  void Wake(const SourcePartition& partition,
            PartitionTask::PortSet called = PartitionTask::kSourcePort);

  // Stops reading, commits everything and puts checkpoints. Waits at most `deadline_ms` for that
  // and then ends the threads. True if every partition that had not stopped before is drained.
  bool Drain(int64_t deadline_ms);

  // Adds a partition after the start, to the thread with the fewest partitions. Does nothing if the
  // partition is here already.
  void Add(const SourcePartition& partition);
  // Drains the partitions, for at most `deadline_ms` together, and discards their tasks. The next
  // owner counts again what was not committed. True if all were drained; partitions that are not
  // here count as drained. At the deadline it returns even if a Step is under way, for example in a
  // store that does not answer. That task is discarded when its Step ends. Until then it is a
  // zombie, against which the next owner's claim and fences protect.
  bool Remove(const std::vector<SourcePartition>& partitions, int64_t deadline_ms);

  std::vector<PartitionHealth> Snapshot() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
