#include "processes/step_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace sightline {
namespace {

// Commits are due by time, so the loop looks this often even if nobody wakes it.
constexpr std::chrono::milliseconds kLook{10};
// A partition works for this long, or for one step, before it is the next one's turn. So a
// partition that is behind delays neither the others nor a SIGTERM.
constexpr std::chrono::milliseconds kTurn{20};

}  // namespace

StepLoop::StepLoop(Open open) : open_(std::move(open)), thread_([this] { Run(); }) {}

StepLoop::~StepLoop() {
  {
    const std::lock_guard lock(wake_mutex_);
    closing_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void StepLoop::Wake() {
  const std::lock_guard lock(wake_mutex_);
  woken_ = true;
  wake_.notify_one();
}

void StepLoop::Add(const std::vector<int32_t>& partitions) {
  {
    const std::lock_guard lock(mutex_);
    for (const int32_t partition : partitions) slots_.try_emplace(partition);
  }
  Wake();
}

void StepLoop::Remove(const std::vector<int32_t>& partitions, Millis drain) {
  std::unique_lock lock(mutex_);
  const Clock::time_point until = Clock::now() + std::chrono::milliseconds(drain.v);
  for (const int32_t partition : partitions) {
    const auto slot = slots_.find(partition);
    if (slot == slots_.end()) continue;
    slot->second.removing = true;
    slot->second.remove_at = until;
  }
  removed_.wait(lock, [&] {
    return std::ranges::none_of(partitions, [&](int32_t p) { return slots_.contains(p); });
  });
}

void StepLoop::Run() {
  for (bool more = false;;) {
    {
      std::unique_lock lock(wake_mutex_);
      if (!more) wake_.wait_for(lock, kLook, [this] { return woken_ || closing_; });
      if (closing_) break;
      woken_ = false;
    }
    more = RunSlots();
  }
  const std::lock_guard lock(mutex_);
  slots_.clear();
}

bool StepLoop::RunSlots() {
  bool more = false;
  std::unique_lock lock(mutex_);
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    more = RunSlot(slot->first, slot->second, lock) || more;
    const Slot& now = slot->second;
    const bool waits = now.step != nullptr && !now.step->drained() && Clock::now() < now.remove_at;
    if (!now.removing || waits) {
      ++slot;
      continue;
    }
    slot = slots_.erase(slot);
    removed_.notify_all();
  }
  return more;
}

// Holds `lock` except during the work itself. A loop that is behind works without a pause, and
// would otherwise keep out everybody who asks for figures or wants to stop it.
bool StepLoop::RunSlot(int32_t partition, Slot& slot, std::unique_lock<std::mutex>& lock) {
  if (slot.stopped) return false;
  if (slot.step == nullptr && (slot.removing || slot.backoff.Waiting(SteadyMs()))) return false;
  const bool removing = slot.removing;
  lock.unlock();
  if (slot.step == nullptr) {
    slot.step = open_(partition, [this] { Wake(); });
    slot.opened_ms = SteadyMs();
  }
  Status status = Status::Ok();
  const Clock::time_point turn_ends = Clock::now() + kTurn;
  do {
    status = slot.step->Step(removing);
  } while (status.ok() && Clock::now() < turn_ends);
  StepFigures figures = slot.step->figures();
  const bool goes_on = status.ok() || status.code() == StatusCode::kRetry;
  if (!goes_on) {
    slot.step = nullptr;
    figures.running = false;
    if (status.code() == StatusCode::kStop) {
      LogError(fmt::format("partition {} is stopped: {}", partition, status.message()));
    } else {
      LogWarning(fmt::format("partition {} begins again: {}", partition, status.message()));
    }
  }
  lock.lock();
  slot.figures = figures;
  slot.reason = status.ok() ? "" : status.message();
  if (goes_on) return status.ok();
  if (status.code() == StatusCode::kStop) {
    slot.stopped = true;
  } else {
    ++slot.rebuilt;
    slot.backoff.Died(slot.opened_ms, SteadyMs());
  }
  return false;
}

std::map<int32_t, StepFigures> StepLoop::figures() const {
  const std::lock_guard lock(mutex_);
  std::map<int32_t, StepFigures> figures;
  for (const auto& [partition, slot] : slots_) figures.emplace(partition, slot.figures);
  return figures;
}

void StepLoop::ReportHealth(bool late, Health& health) const {
  const std::lock_guard lock(mutex_);
  const auto broken = [&health](std::string reason) {
    health.ok = false;
    health.reasons.push_back(std::move(reason));
  };
  for (const auto& [partition, slot] : slots_) {
    if (slot.stopped) {
      broken(fmt::format("partition {} is stopped: {}", partition, slot.reason));
    } else if (!slot.figures.running && late && !slot.reason.empty()) {
      broken(fmt::format("partition {} cannot start: {}", partition, slot.reason));
    }
  }
}

void StepLoop::ReportReadiness(Health& ready) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [partition, slot] : slots_) {
    if (slot.figures.running && !slot.stopped) continue;
    ready.ok = false;
    ready.reasons.push_back(fmt::format("partition {} does not run{}{}", partition,
                                        slot.reason.empty() ? "" : ": ", slot.reason));
  }
}

void StepLoop::Sample(MonitorReport& report) const {
  const std::lock_guard lock(mutex_);
  int64_t commits = 0, written = 0, refused = 0, failures = 0, rebuilds = 0, running = 0;
  for (const auto& [partition, slot] : slots_) {
    const StepFigures& f = slot.figures;
    PartitionSample& sample = report.sample.partitions.emplace_back();
    sample.partition = partition;
    sample.running = f.running;
    sample.reason = slot.reason;
    sample.position = f.next;
    sample.end = f.end;
    commits += f.commits;
    written += f.written;
    refused += f.refused;
    failures += f.failures;
    rebuilds += slot.rebuilt;
    running += f.running ? 1 : 0;
    if (slot.stopped)
      report.sample.troubles.push_back({fmt::format("partition {}", partition), slot.reason});
  }
  for (const auto& [name, number] :
       {std::pair("commits", commits), std::pair("written", written), std::pair("refused", refused),
        std::pair("failures", failures), std::pair("rebuilds", rebuilds),
        std::pair("partitions_running", running)})
    report.numbers.emplace_back(name, number);
}

void StepLoop::CollectMetrics(std::vector<Metric>& metrics) const {
  const std::lock_guard lock(mutex_);
  metrics.push_back({.name = "sightline_step_partitions",
                     .help = "Partitions that this process has.",
                     .type = Metric::Type::kGauge,
                     .value = static_cast<double>(slots_.size())});
  for (const auto& [partition, slot] : slots_) {
    const auto add = [&, number = partition](const char* name, const char* help, Metric::Type type,
                                             int64_t value) {
      metrics.push_back({.name = name,
                         .help = help,
                         .type = type,
                         .labels = {{"partition", fmt::format("{}", number)}},
                         .value = static_cast<double>(value)});
    };
    using enum Metric::Type;
    const StepFigures& f = slot.figures;
    add("sightline_step_running", "1 while the step reads and writes the partition.", kGauge,
        f.running);
    add("sightline_step_offset", "The offset that the step reads next.", kGauge, f.next.v);
    add("sightline_step_lag", "Records of the partition that the step has not read yet.", kGauge,
        std::max<int64_t>(0, f.end.v - f.next.v));
    add("sightline_step_commits_total", "Commits since this process got the partition.", kCounter,
        f.commits);
    add("sightline_step_written_total", "Messages or rows that the step has written.", kCounter,
        f.written);
    add("sightline_step_refused_total",
        "Records that the step refused because Sightline did not write them.", kCounter, f.refused);
    add("sightline_step_failures_total", "Commits that failed or whose outcome is unknown.",
        kCounter, f.failures);
    add("sightline_step_rebuilt_total", "Times that the step discarded its state and began again.",
        kCounter, slot.rebuilt);
  }
}

}  // namespace sightline
