#include "engine/runtime.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace sightline {
namespace {

constexpr int kStepsAtATime = 16;        // of one partition before its neighbours have a turn
constexpr int64_t kSleepMsMax = 1'000;   // the net under lost wake-ups
constexpr int64_t kPublishEveryMs = 50;  // status snapshots of a busy partition
constexpr int64_t kRebuildPauseMsMax = 1'000;

int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

struct Runtime::Slot {
  size_t partition = 0;
  Worker* worker = nullptr;
  // The worker's thread only.
  std::unique_ptr<PartitionTask> task;
  int64_t due_ms = 0;
  int64_t rebuild_at_ms = 0, rebuild_pause_ms = 0;
  int64_t failing_since_ms = 0;  // 0: it works
  int64_t published_ms = 0;
  bool at_end = false, draining = false;
  PartitionStatus status;
  // Any thread.
  std::atomic<bool> woken = false;
  mutable std::mutex mutex;
  PartitionStatus published;  // under mutex
};

struct Runtime::Worker {
  std::vector<Slot*> slots;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable changed;
  // Under mutex.
  bool woken = false, stop = false, drain = false;
  bool drained = false;
};

Runtime::Runtime(size_t partitions, RuntimeOptions options, TaskFactory factory)
    : options_(std::move(options)), factory_(std::move(factory)) {
  CHECK(options_.threads > 0);
  const size_t threads = std::min(partitions, static_cast<size_t>(options_.threads));
  for (size_t i = 0; i < threads; ++i) workers_.push_back(std::make_unique<Worker>());
  for (size_t i = 0; i < partitions; ++i) {
    Slot& slot = *slots_.emplace_back(std::make_unique<Slot>());
    slot.partition = i;
    slot.worker = workers_[i % threads].get();
    slot.worker->slots.push_back(&slot);
  }
}

Runtime::~Runtime() {
  for (const auto& worker : workers_) {
    const std::lock_guard lock(worker->mutex);
    worker->stop = true;
    worker->changed.notify_all();
  }
  for (const auto& worker : workers_)
    if (worker->thread.joinable()) worker->thread.join();
}

void Runtime::Start() {
  for (const auto& worker : workers_)
    worker->thread = std::thread([this, w = worker.get()] { Run(*w); });
}

void Runtime::Wake(size_t partition) {
  Slot& slot = *slots_[partition];
  slot.woken = true;
  const std::lock_guard lock(slot.worker->mutex);
  slot.worker->woken = true;
  slot.worker->changed.notify_one();
}

bool Runtime::Drain(int64_t deadline_ms) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  for (const auto& worker : workers_) {
    const std::lock_guard lock(worker->mutex);
    worker->drain = true;
    worker->changed.notify_all();
  }
  bool all = true;
  for (const auto& worker : workers_) {
    std::unique_lock lock(worker->mutex);
    all &= worker->changed.wait_until(lock, deadline, [&] { return worker->drained; });
    worker->stop = true;
    worker->changed.notify_all();
  }
  for (const auto& worker : workers_)
    if (worker->thread.joinable()) worker->thread.join();
  return all;
}

std::vector<PartitionStatus> Runtime::Snapshot() const {
  std::vector<PartitionStatus> all;
  const int64_t now_ms = SteadyMs();
  for (const auto& slot : slots_) {
    const std::lock_guard lock(slot->mutex);
    PartitionStatus& status = all.emplace_back(slot->published);
    if (status.failing_ms != 0)
      status.failing_ms = std::max<int64_t>(1, now_ms - status.failing_ms);
  }
  return all;
}

void Runtime::Run(Worker& worker) {
  for (;;) {
    bool drain;
    {
      const std::lock_guard lock(worker.mutex);
      if (worker.stop) return;
      worker.woken = false;
      drain = worker.drain;
    }
    bool worked = false, drained = true;
    int64_t due_ms = SteadyMs() + kSleepMsMax;
    for (Slot* slot : worker.slots) {
      if (drain && !std::exchange(slot->draining, drain) && slot->task) slot->task->Drain();
      const bool slot_worked = StepSlot(*slot, SteadyMs());
      worked |= slot_worked;
      if (!slot_worked) due_ms = std::min(due_ms, slot->due_ms);
      drained &= slot->status.stopped || !slot->task || slot->task->drained();
    }
    std::unique_lock lock(worker.mutex);
    if (drain && drained && !worked) {
      worker.drained = true;
      worker.changed.notify_all();
      worker.changed.wait(lock, [&] { return worker.stop; });
      return;
    }
    if (worked) continue;
    const int64_t sleep_ms = std::max<int64_t>(0, due_ms - SteadyMs());
    worker.changed.wait_for(lock, std::chrono::milliseconds(sleep_ms),
                            [&] { return worker.woken || worker.stop || worker.drain != drain; });
  }
}

bool Runtime::StepSlot(Slot& slot, int64_t now_ms) {
  slot.due_ms = PartitionTask::kNever;
  if (slot.status.stopped) return false;
  if (!slot.task) {
    if (slot.draining) return false;  // the next start goes on
    if (now_ms < slot.rebuild_at_ms) {
      slot.due_ms = slot.rebuild_at_ms;
      return false;
    }
    BuildTask(slot, now_ms);
    return slot.task != nullptr;
  }
  if (slot.woken.exchange(false)) slot.task->Hurry();
  bool worked = false;
  for (int i = 0; i < kStepsAtATime && slot.task; ++i) {
    const Result<Progress> step = slot.task->Step(now_ms);
    if (!step.ok()) {
      TakeStatus(slot, step.status(), now_ms);
      break;
    }
    if (step.value() == Progress::kIdle) break;
    worked = true;
    if (slot.failing_since_ms != 0 && slot.task->Snapshot().running)
      slot.failing_since_ms = slot.rebuild_pause_ms = 0;
  }
  if (slot.task) slot.due_ms = slot.task->NextDue(now_ms);
  if (!worked || now_ms - slot.published_ms >= kPublishEveryMs) Publish(slot, now_ms);
  return worked;
}

void Runtime::BuildTask(Slot& slot, int64_t now_ms) {
  Result<std::unique_ptr<PartitionTask>> task = factory_(slot.partition);
  if (!task.ok()) return TakeStatus(slot, task.status(), now_ms);
  slot.task = std::move(task).value();
}

void Runtime::TakeStatus(Slot& slot, const Status& status, int64_t now_ms) {
  const std::string who = "partition " + std::to_string(slot.partition) + ": ";
  const bool news = slot.failing_since_ms == 0 || slot.status.reason != status.message();
  if (slot.failing_since_ms == 0) slot.failing_since_ms = now_ms;
  slot.status.reason = status.message();
  if (status.code() == StatusCode::kStop) {
    LogError(who + "stopped for a person: " + status.message());
    slot.status.stopped = true;
    slot.task.reset();
  } else if (status.code() == StatusCode::kRebuild || !slot.task) {
    LogWarning(who + "starts again: " + status.message());
    ++slot.status.rebuilds;
    slot.task.reset();
    slot.rebuild_pause_ms = std::clamp<int64_t>(slot.rebuild_pause_ms * 2, 1, kRebuildPauseMsMax);
    slot.due_ms = slot.rebuild_at_ms = now_ms + slot.rebuild_pause_ms;
  } else if (news) {
    Log(LogLevel::kDebug, who + "tries again: " + status.message());
  }
  Publish(slot, now_ms);
}

void Runtime::Publish(Slot& slot, int64_t now_ms) {
  slot.published_ms = now_ms;
  if (slot.task) {
    slot.status.task = slot.task->Snapshot();
    if (slot.status.task.at_end != slot.at_end) {
      slot.at_end = slot.status.task.at_end;
      if (options_.on_at_end) options_.on_at_end(slot.partition, slot.at_end);
    }
  }
  const std::lock_guard lock(slot.mutex);
  slot.published = slot.status;
  slot.published.failing_ms = slot.failing_since_ms;  // Snapshot() makes a length of it
}

}  // namespace sightline
