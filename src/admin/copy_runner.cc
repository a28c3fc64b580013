#include "admin/copy_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"

namespace sightline {
namespace {

constexpr std::chrono::milliseconds kIdle{10};
constexpr int64_t kOpenAgainMs = 500;

struct Lag {
  int64_t next = 0, end = 0;  // sums over the partitions
  int64_t records() const { return std::max<int64_t>(0, end - next); }
};
Lag LagOf(const KafkaCopyStats& stats) {
  Lag lag;
  for (const KafkaCopyStats::Partition& p : stats.partitions) {
    lag.next += p.next.v;
    lag.end += p.end.v;
  }
  return lag;
}

void AddSums(const KafkaCopyStats& from, KafkaCopyStats& to) {
  to.read += from.read;
  to.written += from.written;
  to.bytes += from.bytes;
  to.commits += from.commits;
  to.split += from.split;
  to.unreadable += from.unreadable;
}

}  // namespace

CopyRunner::CopyRunner(Open open) : open_(std::move(open)), thread_([this] { Run(); }) {}

CopyRunner::~CopyRunner() {
  stop_ = true;
  thread_.join();
}

void CopyRunner::Run() {
  std::unique_ptr<KafkaCopy> copy;
  while (!stop_) {
    const Status status = RunOnce(copy);
    if (copy != nullptr) Publish(*copy);
    if (status.ok() && (copy == nullptr || !copy->done())) continue;
    if (status.code() == StatusCode::kRetry && copy != nullptr) {
      std::this_thread::sleep_for(kIdle);
      continue;
    }
    KeepSums();
    copy = nullptr;
    if (stop_) return;
    const bool is_new = Failed(status);
    if (ended_) return;
    if (is_new) LogWarning(fmt::format("the copy begins again: {}", status.message()));
    for (const int64_t until = SteadyMs() + kOpenAgainMs; !stop_ && SteadyMs() < until;)
      std::this_thread::sleep_for(kIdle);
  }
}

Status CopyRunner::RunOnce(std::unique_ptr<KafkaCopy>& copy) {
  if (copy != nullptr) return copy->Step(SteadyMs());
  Result<std::unique_ptr<KafkaCopy>> opened = open_(stop_);
  if (!opened.ok()) return opened.status();
  copy = std::move(opened).value();
  return Status::Ok();
}

void CopyRunner::Publish(const KafkaCopy& copy) {
  KafkaCopyStats stats = copy.stats();
  const std::lock_guard lock(mutex_);
  stats_ = std::move(stats);
  trouble_.clear();
}

// Whether it is another trouble than before.
bool CopyRunner::Failed(const Status& status) {
  const std::lock_guard lock(mutex_);
  if (status.ok() || status.code() == StatusCode::kStop) ended_ = status;
  ++rebuilt_;
  return std::exchange(trouble_, status.message()) != status.message();
}

void CopyRunner::KeepSums() {
  const std::lock_guard lock(mutex_);
  AddSums(stats_, before_);
  KafkaCopyStats rest;
  rest.partitions = std::move(stats_.partitions);
  rest.time = stats_.time;
  stats_ = std::move(rest);
}

std::optional<Status> CopyRunner::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

KafkaCopyStats CopyRunner::stats() const {
  const std::lock_guard lock(mutex_);
  KafkaCopyStats stats = stats_;
  AddSums(before_, stats);
  return stats;
}

std::string CopyRunner::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

std::string CopyRunner::Progress() {
  const KafkaCopyStats now = stats();
  const int64_t now_ms = SteadyMs();
  const std::lock_guard lock(mutex_);
  const int64_t read = now.read - std::exchange(told_read_, now.read);
  const int64_t took_ms = now_ms - std::exchange(told_ms_, now_ms);
  if (read == 0) return {};
  return fmt::format("{} records copied as {}, {} a second, {} are left{}", now.read, now.written,
                     took_ms == now_ms ? read : read * 1'000 / std::max<int64_t>(1, took_ms),
                     LagOf(now).records(),
                     now.awaited ? fmt::format("; partition {} is waited for", *now.awaited) : "");
}

void CopyRunner::ReportHealth(Health& health) const {
  const std::lock_guard lock(mutex_);
  if (trouble_.empty()) return;
  health.ok = false;
  health.reasons.push_back("the copy does not run: " + trouble_);
}

void CopyRunner::CollectMetrics(std::vector<Metric>& metrics) const {
  const KafkaCopyStats now = stats();
  const auto add = [&](const char* name, const char* help, Metric::Type type, int64_t value) {
    metrics.push_back(
        {.name = name, .help = help, .type = type, .value = static_cast<double>(value)});
  };
  using enum Metric::Type;
  add("sightline_copy_running", "1: it reads and writes", kGauge, trouble().empty());
  add("sightline_copy_read_total", "records of the source, committed", kCounter, now.read);
  add("sightline_copy_written_total", "records that they became", kCounter, now.written);
  add("sightline_copy_bytes_total", "of these", kCounter, now.bytes);
  add("sightline_copy_split_total", "records that became several", kCounter, now.split);
  add("sightline_copy_unreadable_total", "elements that keep their old key", kCounter,
      now.unreadable);
  add("sightline_copy_commits_total", "transactions", kCounter, now.commits);
  for (size_t p = 0; p < now.partitions.size(); ++p) {
    const KafkaCopyStats::Partition& partition = now.partitions[p];
    metrics.push_back(
        {.name = "sightline_copy_lag",
         .help = "records of the source's partition that are not copied yet",
         .type = kGauge,
         .labels = {{"partition", fmt::format("{}", p)}},
         .value = static_cast<double>(std::max<int64_t>(0, partition.end.v - partition.next.v))});
  }
}

void CopyRunner::Sample(MonitorReport& report) const {
  const KafkaCopyStats now = stats();
  const std::string why = trouble();
  for (size_t p = 0; p < now.partitions.size(); ++p) {
    PartitionSample& sample = report.sample.partitions.emplace_back();
    sample.partition = static_cast<int32_t>(p);
    sample.running = why.empty();
    sample.reason = why;
    sample.position = now.partitions[p].next;
    sample.end = now.partitions[p].end;
  }
  int64_t rebuilds = 0;
  {
    const std::lock_guard lock(mutex_);
    rebuilds = rebuilt_;
  }
  for (const auto& [name, number] :
       {std::pair("commits", now.commits), std::pair("written", now.written),
        std::pair("rebuilds", rebuilds)})
    report.numbers.emplace_back(name, number);
}

}  // namespace sightline
