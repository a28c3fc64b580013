#include "engine/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "engine/backoff.h"

namespace sightline {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int64_t kPublishIntervalMs = 50;
// Without a spilled run for this long, spilling is reported as over. So a sink that is slow but not
// away does not flood the log.
constexpr int64_t kSpillOverMs = 10'000;
// How long Remove() waits, after its deadline, for Steps that are under way.
constexpr int64_t kLastStepMs = 100;
// A list that has been full for this long is worth a line in the log.
constexpr int64_t kFullMs = 10'000;

int64_t NowMs() {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}
steady_clock::time_point At(int64_t ms) { return steady_clock::time_point(milliseconds(ms)); }

std::string NameOf(const SourcePartition& partition) {
  return fmt::format("partition {} of '{}'", partition.partition, partition.source);
}

}  // namespace

struct Runtime::State {
  struct Worker;

  struct Slot {
    explicit Slot(SourcePartition its_partition) : partition(std::move(its_partition)) {
      health.partition = partition;
    }
    const SourcePartition partition;
    Worker* worker = nullptr;
    std::atomic<PartitionTask::PortSet> called = 0;  // by which ports the task is woken
    std::atomic<bool> draining = false;              // set by Remove()
    std::atomic<bool> abandoned = false;             // the deadline of Remove() has passed

    // Used by the worker's thread only.
    std::unique_ptr<PartitionTask> task;
    Backoff rebuild_backoff{
        Backoff::kDelayMsMax,
        SeedOf(partition.source, static_cast<uint64_t>(partition.partition) << 8)};
    int64_t due_ms = 0;  // of the next Step, or of the next attempt to build the task
    int64_t built_ms = 0;
    int64_t published_ms = 0;
    bool finished = false;
    bool released = false;  // guarded by finished_mutex: its worker has forgotten it
    bool was_running = false;
    bool spills = false;      // as it was last logged
    int64_t spilled_ms = 0;   // when a spilled run was last seen
    int64_t not_full_ms = 0;  // when the list was last seen with room
    bool waits = false;       // as it was last logged
    Gap gap;                  // as it was last logged

    mutable std::mutex mutex;
    PartitionHealth health;  // guarded by mutex
  };

  struct Worker {
    std::vector<Slot*> slots;  // used by its own thread only
    std::mutex mutex;
    std::condition_variable wake;
    // Guarded by mutex.
    bool woken = false;
    std::vector<Slot*> added;
    size_t count = 0;  // how many slots it has, including those just added
    // Slots whose Remove() did not wait for the end of their Step.
    std::vector<std::unique_ptr<Slot>> zombies;
    std::jthread thread;
  };

  TaskFactory factory;
  RuntimeOptions options;
  mutable std::shared_mutex slots_mutex;
  // Guarded by slots_mutex.
  std::vector<std::unique_ptr<Slot>> slots;
  std::map<SourcePartition, Slot*> by_partition;
  std::atomic<bool> stopping = false;
  std::atomic<bool> draining = false;
  std::mutex finished_mutex;
  std::condition_variable finished_changed;
  size_t unfinished = 0;  // guarded by finished_mutex
  // Last, because their threads use the members above.
  std::vector<std::unique_ptr<Worker>> workers;

  bool Draining(const Slot& slot) const { return draining || slot.draining; }
  void Work(Worker& worker);
  void ReleaseRemoved(Worker& worker);
  void Sleep(Worker& worker, int64_t until_ms);
  int64_t Turn(Slot& slot);
  bool Build(Slot& slot, int64_t now_ms);
  void StepTask(Slot& slot, int64_t now_ms);
  void Failed(Slot& slot, const Status& status, int64_t now_ms);
  void Finish(Slot& slot, TaskHealth health, const std::string& reason);
  int64_t FinishWithoutTask(Slot& slot);
  void Publish(Slot& slot, int64_t now_ms);
  static void ReportSpill(Slot& slot, const TaskStatus& status, int64_t now_ms);
  static void ReportGap(Slot& slot, const TaskStatus& status);
  static void ReportMissed(const Slot& slot, const TaskStatus& status);
  void Wake(Slot& slot, PartitionTask::PortSet called);
  void Disown(Slot* slot);
  void Stop();
};

// ---- a thread ----------------------------------------------------------------------------------

void Runtime::State::Work(Worker& worker) {
  while (!stopping) {
    {
      const std::lock_guard lock(worker.mutex);
      worker.slots.insert(worker.slots.end(), worker.added.begin(), worker.added.end());
      worker.added.clear();
    }
    int64_t due_ms = PartitionTask::kNever;
    for (Slot* slot : worker.slots) {
      if (stopping) break;
      due_ms = std::min(due_ms, Turn(*slot));
    }
    ReleaseRemoved(worker);
    Sleep(worker, due_ms);
  }
  for (Slot* slot : worker.slots)
    slot->task.reset();  // a task is destroyed on the thread that used its ports
}

// Forgets the finished slots for which Remove() waits, and tells it. From then on, this thread does
// not touch them. It deletes those for which Remove() no longer waits.
void Runtime::State::ReleaseRemoved(Worker& worker) {
  std::vector<Slot*> gone;
  std::erase_if(worker.slots, [&gone](Slot* slot) {
    const bool removed = slot->finished && slot->draining;
    if (removed) gone.push_back(slot);
    return removed;
  });
  if (gone.empty()) return;
  std::vector<std::unique_ptr<Slot>> zombies;
  const std::lock_guard lock(finished_mutex);
  for (Slot* slot : gone) slot->released = true;
  finished_changed.notify_all();
  const std::lock_guard worker_lock(worker.mutex);
  worker.count -= worker.zombies.size();
  for (std::unique_ptr<Slot>& zombie : worker.zombies)
    if (zombie->released) zombies.push_back(std::move(zombie));
  std::erase(worker.zombies, nullptr);
  worker.count += worker.zombies.size();
}

void Runtime::State::Sleep(Worker& worker, int64_t until_ms) {
  const int64_t now_ms = NowMs();
  if (until_ms <= now_ms) return;
  until_ms = std::min(until_ms, now_ms + options.sleep_ms_max);
  std::unique_lock lock(worker.mutex);
  worker.wake.wait_until(lock, At(until_ms), [&] { return worker.woken || stopping; });
  worker.woken = false;
}

// Steps the slot's task if it is due or was woken. Returns when the next Step is due.
int64_t Runtime::State::Turn(Slot& slot) {
  if (slot.finished) return PartitionTask::kNever;
  if (slot.abandoned) {
    Finish(slot, TaskHealth::kStopped, "the task was not drained in time");
    return PartitionTask::kNever;
  }
  const PartitionTask::PortSet called = slot.called.exchange(0);
  const int64_t now_ms = NowMs();
  if (slot.task == nullptr) {
    if (Draining(slot)) return FinishWithoutTask(slot);
    if (now_ms < slot.due_ms) return slot.due_ms;
    if (!Build(slot, now_ms)) return slot.due_ms;
  } else if (called == 0 && now_ms < slot.due_ms) {
    return slot.due_ms;
  }
  if (called != 0) slot.task->RetryNow(called);
  StepTask(slot, now_ms);
  return slot.finished ? PartitionTask::kNever : slot.due_ms;
}

bool Runtime::State::Build(Slot& slot, int64_t now_ms) {
  Result<std::unique_ptr<PartitionTask>> built = factory(slot.partition);
  if (!built.ok()) {
    Failed(slot, built.status(), now_ms);
    return false;
  }
  slot.task = std::move(built).value();
  CHECK(slot.task != nullptr);
  slot.built_ms = slot.not_full_ms = now_ms;
  slot.was_running = false;
  return true;
}

void Runtime::State::StepTask(Slot& slot, int64_t now_ms) {
  PartitionTask& task = *slot.task;
  if (Draining(slot)) task.Drain();
  const Result<StepResult> done = task.Step(now_ms);
  if (!done.ok() && done.status().code() != StatusCode::kRetry)
    return Failed(slot, done.status(), now_ms);
  if (!done.ok()) {
    const std::lock_guard lock(slot.mutex);
    slot.health.reason = done.status().message();
  }
  if (task.drained()) {
    Publish(slot, now_ms);
    return Finish(slot, TaskHealth::kDrained, "");
  }
  const bool worked = done.ok() && done.value() == StepResult::kWorked;
  slot.due_ms = worked ? now_ms : std::min(task.NextDue(now_ms), now_ms + options.sleep_ms_max);
  if (!worked || now_ms - slot.published_ms >= kPublishIntervalMs) Publish(slot, now_ms);
}

// Handles kRebuild or kStop of a task, and any failure of the factory. The health is published
// before the task goes.
void Runtime::State::Failed(Slot& slot, const Status& status, int64_t now_ms) {
  if (slot.task != nullptr) Publish(slot, now_ms);
  slot.task.reset();
  if (status.code() == StatusCode::kStop) {
    LogError(fmt::format("{} stopped: {}", NameOf(slot.partition), status.message()));
    return Finish(slot, TaskHealth::kStopped, status.message());
  }
  if (Draining(slot)) return Finish(slot, TaskHealth::kStopped, "not drained: " + status.message());
  // A task that dies young would otherwise be rebuilt in a tight loop, with a claim and fences each
  // time.
  slot.rebuild_backoff.Died(slot.built_ms, now_ms);
  slot.due_ms = slot.rebuild_backoff.until_ms();
  LogWarning(fmt::format("{} is rebuilt: {}", NameOf(slot.partition), status.message()));
  const std::lock_guard lock(slot.mutex);
  slot.health.health = TaskHealth::kStarting;
  slot.health.reason = status.message();
  ++slot.health.rebuilds;
}

void Runtime::State::Finish(Slot& slot, TaskHealth health, const std::string& reason) {
  slot.task.reset();
  slot.finished = true;
  {
    const std::lock_guard lock(slot.mutex);
    slot.health.health = health;
    slot.health.reason = reason;
  }
  const std::lock_guard lock(finished_mutex);
  --unfinished;
  finished_changed.notify_all();
}

// Handles a drain while there is no task. A task that was never built has read nothing, so the slot
// is drained. What a discarded task had read is replayed at the next start, so that slot is not.
int64_t Runtime::State::FinishWithoutTask(Slot& slot) {
  std::string reason;
  bool rebuilt = false;
  {
    const std::lock_guard lock(slot.mutex);
    rebuilt = slot.health.rebuilds > 0;
    reason = "not drained: " + slot.health.reason;
  }
  Finish(slot, rebuilt ? TaskHealth::kStopped : TaskHealth::kDrained, rebuilt ? reason : "");
  return PartitionTask::kNever;
}

void Runtime::State::Publish(Slot& slot, int64_t now_ms) {
  TaskStatus status = slot.task->Snapshot();
  slot.published_ms = now_ms;
  if (status.running && !slot.was_running) {
    slot.was_running = true;
    LogInfo(fmt::format("{} runs from offset {}, and reads {} offsets again",
                        NameOf(slot.partition), status.position.v, status.read_again));
    ReportMissed(slot, status);
  }
  if (status.running) ReportSpill(slot, status, now_ms);
  if (status.running) ReportGap(slot, status);
  const std::lock_guard lock(slot.mutex);
  slot.health.health = status.running ? TaskHealth::kRunning : TaskHealth::kStarting;
  slot.health.task = std::move(status);
}

// Logs lost offsets: they are lost for good. After a restart they are logged again, as long as the
// task reports the gap.
void Runtime::State::ReportGap(Slot& slot, const TaskStatus& status) {
  if (status.gap.empty() || status.gap == slot.gap) return;
  slot.gap = status.gap;
  LogError(
      fmt::format("{} has lost {} offsets: retention had removed [{}, {}) before they were counted",
                  NameOf(slot.partition), slot.gap.next.v - slot.gap.first.v, slot.gap.first.v,
                  slot.gap.next.v));
}

// Logs what sinks lack because they were switched off, once in each life of the task.
void Runtime::State::ReportMissed(const Slot& slot, const TaskStatus& status) {
  for (const SinkStatus& sink : status.sinks)
    if (!sink.missed.empty())
      LogWarning(fmt::format(
          "sink '{}' of {} was switched off: it lacks the {} offsets [{}, {}), and its ledger says "
          "that they are lost there",
          sink.name, NameOf(slot.partition), sink.missed.next.v - sink.missed.first.v,
          sink.missed.first.v, sink.missed.next.v));
}

// Logs a lasting state twice: when it begins and when it ends.
void Runtime::State::ReportSpill(Slot& slot, const TaskStatus& status, int64_t now_ms) {
  if (status.spilled_runs > 0) slot.spilled_ms = now_ms;
  if (status.spilled_runs > 0 && !slot.spills) {
    slot.spills = true;
    LogWarning(
        fmt::format("{} spills: a sink is away, and the segments it lacks are written to disk",
                    NameOf(slot.partition)));
  } else if (slot.spills && now_ms - slot.spilled_ms >= kSpillOverMs) {
    slot.spills = false;
    LogInfo(fmt::format("{} no longer spills: every sink has committed what was on disk",
                        NameOf(slot.partition)));
  }
  if (!status.full) {
    slot.not_full_ms = now_ms;
    slot.waits = false;
  } else if (!slot.waits && now_ms - slot.not_full_ms >= kFullMs) {
    slot.waits = true;
    LogWarning(fmt::format(
        "{} has stopped counting until the absent sink takes the segments that wait for it: there "
        "is no room left in memory or on disk (raise engine.spill_max, or bring the sink back)",
        NameOf(slot.partition)));
  }
}

// ---- other threads -----------------------------------------------------------------------------

// The slot's flag is set before the worker's, and the worker clears its own flag before it looks at
// those of its slots. So whoever finds the slot's flags already set is covered by the look that
// will clear them.
void Runtime::State::Wake(Slot& slot, PartitionTask::PortSet called) {
  if (slot.called.fetch_or(called) != 0) return;
  {
    const std::lock_guard lock(slot.worker->mutex);
    slot.worker->woken = true;
  }
  slot.worker->wake.notify_one();
}

// Takes a slot out of the runtime. If its thread has not released it yet, it becomes a zombie that
// this thread deletes later. Under slots_mutex and finished_mutex.
void Runtime::State::Disown(Slot* slot) {
  by_partition.erase(slot->partition);
  const auto owned = std::ranges::find_if(slots, [&](const auto& s) { return s.get() == slot; });
  std::unique_ptr<Slot> taken = std::move(*owned);
  slots.erase(owned);
  const std::lock_guard lock(slot->worker->mutex);
  if (slot->released) {
    --slot->worker->count;
  } else {
    slot->worker->zombies.push_back(std::move(taken));
  }
}

void Runtime::State::Stop() {
  stopping = true;
  for (const auto& worker : workers) {
    {
      const std::lock_guard lock(worker->mutex);
      worker->woken = true;
    }
    worker->wake.notify_one();
  }
  for (const auto& worker : workers)
    if (worker->thread.joinable()) worker->thread.join();
}

Runtime::Runtime(std::vector<SourcePartition> partitions, TaskFactory factory,
                 RuntimeOptions options)
    : state_(std::make_unique<State>()) {
  CHECK(options.threads > 0);
  State& s = *state_;
  s.factory = std::move(factory);
  s.options = options;
  const auto wanted = static_cast<size_t>(s.options.threads);
  const size_t threads =
      partitions.empty() ? wanted : std::clamp<size_t>(partitions.size(), 1, wanted);
  for (size_t i = 0; i < threads; ++i) s.workers.push_back(std::make_unique<State::Worker>());
  for (const SourcePartition& partition : partitions) {
    CHECK(!s.by_partition.contains(partition));
    Add(partition);
  }
  for (const auto& worker : s.workers)
    worker->thread = std::jthread([&s, worker = worker.get()] { s.Work(*worker); });
}
Runtime::~Runtime() { state_->Stop(); }

void Runtime::Wake(const SourcePartition& partition, PartitionTask::PortSet called) {
  const std::shared_lock lock(state_->slots_mutex);
  const auto it = state_->by_partition.find(partition);
  if (it != state_->by_partition.end()) state_->Wake(*it->second, called);
}

void Runtime::Add(const SourcePartition& partition) {
  State& s = *state_;
  State::Slot* slot = nullptr;
  {
    const std::unique_lock lock(s.slots_mutex);
    if (s.by_partition.contains(partition)) return;
    slot = s.slots.emplace_back(std::make_unique<State::Slot>(partition)).get();
    // To the thread with the fewest partitions, because partitions come and go with the consumer
    // group. A thread that hangs in a zombie's Step comes last.
    slot->worker = std::ranges::min_element(s.workers, {}, [](const auto& worker) {
                     const std::lock_guard worker_lock(worker->mutex);
                     return std::pair(worker->zombies.size(), worker->count);
                   })->get();
    s.by_partition.emplace(partition, slot);
  }
  {
    const std::lock_guard lock(s.finished_mutex);
    ++s.unfinished;
  }
  {
    const std::lock_guard lock(slot->worker->mutex);
    ++slot->worker->count;
    slot->worker->added.push_back(slot);
    slot->worker->woken = true;
  }
  slot->worker->wake.notify_one();
}

bool Runtime::Remove(const std::vector<SourcePartition>& partitions, int64_t deadline_ms) {
  State& s = *state_;
  std::vector<State::Slot*> removed;
  {
    const std::shared_lock lock(s.slots_mutex);
    for (const SourcePartition& partition : partitions)
      if (const auto it = s.by_partition.find(partition); it != s.by_partition.end())
        removed.push_back(it->second);
  }
  const auto wake = [&] {
    for (State::Slot* slot : removed) {
      slot->called |= PartitionTask::kAllPorts;
      {
        const std::lock_guard lock(slot->worker->mutex);
        slot->worker->woken = true;  // wake it for finished slots, too: they must be released
      }
      slot->worker->wake.notify_one();
    }
  };
  const auto released = [&] {
    return std::ranges::all_of(removed, [](const State::Slot* slot) { return slot->released; });
  };
  for (State::Slot* slot : removed) slot->draining = true;
  wake();
  {
    std::unique_lock lock(s.finished_mutex);
    if (!s.finished_changed.wait_for(lock, milliseconds(deadline_ms), released)) {
      for (State::Slot* slot : removed) slot->abandoned = true;
      lock.unlock();
      wake();
      lock.lock();
      // A Step is short, unless a store does not answer.
      s.finished_changed.wait_for(lock, milliseconds(kLastStepMs), released);
    }
  }
  bool drained = true;
  const std::unique_lock lock(s.slots_mutex);
  const std::lock_guard finished_lock(s.finished_mutex);
  for (State::Slot* slot : removed) {
    {
      const std::lock_guard slot_lock(slot->mutex);
      drained = drained && slot->health.health == TaskHealth::kDrained;
    }
    if (!slot->released)
      LogWarning(fmt::format(
          "{} is given up although it is not drained: a store or a sink does not answer",
          NameOf(slot->partition)));
    s.Disown(slot);
  }
  return drained;
}

bool Runtime::Drain(int64_t deadline_ms) {
  State& s = *state_;
  const auto running = [&] {
    std::vector<const State::Slot*> slots;
    const std::shared_lock all_lock(s.slots_mutex);
    for (const auto& slot : s.slots) {
      const std::lock_guard lock(slot->mutex);
      if (slot->health.health != TaskHealth::kStopped) slots.push_back(slot.get());
    }
    return slots;
  };
  // Taken before the drain begins: a partition that had stopped earlier does not count against its
  // success.
  const std::vector<const State::Slot*> drains = running();
  s.draining = true;
  {
    const std::shared_lock lock(s.slots_mutex);
    for (const auto& slot : s.slots) s.Wake(*slot, PartitionTask::kAllPorts);
  }
  {
    std::unique_lock lock(s.finished_mutex);
    s.finished_changed.wait_for(lock, milliseconds(deadline_ms), [&] { return s.unfinished == 0; });
  }
  s.Stop();
  for (const State::Slot* slot : drains) {
    const std::lock_guard lock(slot->mutex);
    if (slot->health.health != TaskHealth::kDrained) return false;
  }
  return true;
}

std::vector<PartitionHealth> Runtime::Snapshot() const {
  std::vector<PartitionHealth> all;
  const std::shared_lock all_lock(state_->slots_mutex);
  for (const auto& slot : state_->slots) {
    const std::lock_guard lock(slot->mutex);
    all.push_back(slot->health);
  }
  return all;
}

}  // namespace sightline
