#include "telemetry/monitor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

#include "base/log.h"
#include "connectors/kafka/reader.h"
#include "telemetry/engine_report.h"
#include "telemetry/monitor_topics.h"

namespace sightline {
namespace {

// Brokers whose clocks are kept by a time server stay far below it.
constexpr int64_t kBrokerAheadMs = 3'600'000;

namespace json = boost::json;

constexpr int64_t kSchemaVersion = 1;
constexpr std::chrono::seconds kInterval{1};
constexpr Millis kFlush{500};

json::object LedgerJson(const Ledger& ledger) {
  json::object object{{"received", ledger.received}};
  for (size_t i = 0; i < kOutcomes; ++i)
    object[ToString(static_cast<Outcome>(i))] = ledger.outcomes[i];
  object["conflicts"] = ledger.conflicts;
  object["heartbeats"] = ledger.heartbeats;
  object["lost"] = ledger.lost;
  return object;
}

json::object FactsJson(const Alert& alert) {
  json::object facts;
  for (const auto& [name, value] : alert.facts) facts[name] = value;
  return facts;
}

json::value LocationJson(const Alert& alert) {
  if (!alert.location) return nullptr;
  return json::value(fmt::format("{}", alert.location->v));
}

json::object AlertJson(const Alert& alert) {
  return {
      {"rule", ToString(alert.rule)}, {"subject", alert.subject}, {"location", LocationJson(alert)},
      {"since", alert.since_ms},      {"text", alert.text},       {"facts", FactsJson(alert)}};
}

int64_t NumberIn(const char* path, int64_t otherwise) {
  std::ifstream in(path);
  int64_t number = 0;
  return in >> number ? number : otherwise;
}

int64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  int64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace

int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct Monitor::State {
  State(AlertOptions alerts, std::string its_step, const Clock& its_clock,
        std::function<void(MonitorReport&)> its_report, std::unique_ptr<MonitorTopics> its_topics)
      : step(std::move(its_step)),
        clock(its_clock),
        report_now(std::move(its_report)),
        topics(std::move(its_topics)),
        rules(alerts) {}

  void Run();
  void Tick();
  void Report(const AlertChange& change);
  void Publish(const MonitorReport& report);
  std::string Key(const json::object& key) const { return json::serialize(key); }
  std::string SubjectOf(const Alert& alert) const {
    return alert.of_process ? fmt::format("{}@{}/{}", step, instance, alert.subject)
                            : alert.subject;
  }

  const std::string step;
  const Clock& clock;
  const std::function<void(MonitorReport&)> report_now;
  const std::unique_ptr<MonitorTopics> topics;  // null: nothing is published
  std::string instance, boot;
  // Used by the monitor's thread alone.
  AlertRules rules;
  const int64_t started_ms = SteadyMs();

  mutable std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;           // under mutex
  std::vector<Alert> active;       // under mutex
  int64_t version = 0;             // under mutex
  int64_t started = 0, ended = 0;  // alerts; under mutex
  std::thread thread;
};

void Monitor::State::Run() {
  auto next = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex);
  while (!stopping) {
    lock.unlock();
    Tick();
    lock.lock();
    // Ticks fall on whole seconds after the start. Those that a slow tick has missed are skipped.
    const auto now = std::chrono::steady_clock::now();
    while (next <= now) next += kInterval;
    wake.wait_until(lock, next, [this] { return stopping; });
  }
}

void Monitor::State::Tick() {
  MonitorReport report;
  report.sample.now_ms = SteadyMs();
  report.sample.wall_ms = clock.NowMs();
  report_now(report);
  const std::vector<AlertChange> changes = rules.Evaluate(report.sample);
  {
    const std::lock_guard lock(mutex);
    active = rules.Active();
    if (!changes.empty()) ++version;
    for (const AlertChange& change : changes) ++(change.started ? started : ended);
  }
  for (const AlertChange& change : changes) Report(change);
  Publish(report);
  if (topics != nullptr) topics->Work();
}

void Monitor::State::Report(const AlertChange& change) {
  const Alert& alert = change.alert;
  const std::string line = fmt::format("alert {} {} ({}): {}", change.started ? "starts" : "ends",
                                       ToString(alert.rule), alert.subject, alert.text);
  if (change.started)
    LogWarning(line);
  else
    LogInfo(line);
  if (topics == nullptr) return;
  const std::string subject = SubjectOf(alert);
  const json::object value{
      {"schema_version", kSchemaVersion},
      {"rule", ToString(alert.rule)},
      {"subject", subject},
      {"state", change.started ? "start" : "end"},
      {"since", alert.since_ms},
      {"until", change.started ? json::value(nullptr) : json::value(alert.until_ms)},
      {"location", LocationJson(alert)},
      {"text", alert.text},
      {"facts", FactsJson(alert)},
      {"step", step},
      {"instance", instance},
      {"boot", boot}};
  topics->QueueAlert(Key({{"rule", ToString(alert.rule)}, {"subject", subject}}),
                     json::serialize(value));
}

void Monitor::State::Publish(const MonitorReport& report) {
  if (topics == nullptr) return;
  json::array partitions;
  int64_t lag = 0;
  Watermark watermark = kAfterAllTime;
  for (const PartitionSample& partition : report.sample.partitions) {
    const int64_t behind = std::max<int64_t>(0, partition.end.v - partition.position.v);
    lag += behind;
    const bool heard = partition.watermark && *partition.watermark != kBeforeAllTime;
    if (heard) watermark = std::min(watermark, *partition.watermark);
    json::object sinks;
    for (const SinkSample& sink : partition.sinks) sinks[sink.name] = sink.committed.v;
    partitions.push_back(json::object{
        {"topic", partition.topic.empty() ? json::value(nullptr) : json::value(partition.topic)},
        {"partition", partition.partition},
        {"running", partition.running},
        {"position", partition.position.v},
        {"lag", behind},
        {"watermark", heard ? json::value(partition.watermark->v) : json::value(nullptr)},
        {"committed", std::move(sinks)}});
  }
  const bool heard = watermark != kAfterAllTime;
  json::object numbers;
  for (const auto& [name, value] : report.numbers) numbers[name] = value;
  json::object alerts;
  {
    const std::lock_guard lock(mutex);
    alerts = {
        {"active", static_cast<int64_t>(active.size())}, {"started", started}, {"ended", ended}};
  }
  const json::object value{
      {"schema_version", kSchemaVersion},
      {"step", step},
      {"instance", instance},
      {"boot", boot},
      {"time", report.sample.wall_ms},
      {"uptime_ms", report.sample.now_ms - started_ms},
      {"ledger", LedgerJson(report.ledger)},
      {"lag", lag},
      {"watermark", heard ? json::value(watermark.v) : json::value(nullptr)},
      {"watermark_lag_ms",
       heard ? json::value(report.sample.wall_ms - watermark.v) : json::value(nullptr)},
      {"numbers", std::move(numbers)},
      {"alerts", std::move(alerts)},
      {"partitions", std::move(partitions)}};
  topics->PublishMonitoring(Key({{"step", step}, {"instance", instance}}), json::serialize(value));
}

Monitor::Monitor(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Monitor>> Monitor::Open(const AlertSettings& alerts,
                                               const KafkaSettings& kafka, std::string step,
                                               const Clock& clock,
                                               std::function<void(MonitorReport&)> report) {
  Result<std::unique_ptr<MonitorTopics>> topics = MonitorTopics::Open(kafka);
  if (!topics.ok()) return topics.status();
  return std::unique_ptr<Monitor>(new Monitor(std::make_unique<State>(
      alerts.rules, std::move(step), clock, std::move(report), std::move(topics).value())));
}

Monitor::~Monitor() { Stop(); }

void Monitor::Start(std::string instance, std::string boot) {
  state_->instance = std::move(instance);
  state_->boot = std::move(boot);
  state_->thread = std::thread([s = state_.get()] { s->Run(); });
}

void Monitor::Stop() {
  State& s = *state_;
  if (!s.thread.joinable()) return;
  {
    const std::lock_guard lock(s.mutex);
    s.stopping = true;
  }
  s.wake.notify_all();
  s.thread.join();
  // The monitor's thread has ended, so this thread may use its state.
  for (Alert& alert : s.active) {
    alert.until_ms = s.clock.NowMs();
    alert.text = "the process that watched this has stopped";
    s.Report({.started = false, .alert = alert});
  }
  if (s.topics != nullptr) s.topics->Flush(kFlush);
}

std::string Monitor::ActiveJson(const Scope& scope) const {
  json::array alerts;
  const std::lock_guard lock(state_->mutex);
  for (const Alert& alert : state_->active)
    if (!alert.location || scope.Sees(*alert.location)) alerts.push_back(AlertJson(alert));
  return json::serialize(json::object{{"version", state_->version}, {"alerts", std::move(alerts)}});
}

int64_t Monitor::version() const {
  const std::lock_guard lock(state_->mutex);
  return state_->version;
}

void Monitor::CollectMetrics(std::vector<Metric>& metrics) const {
  std::array<int64_t, kRules> active{};
  const std::lock_guard lock(state_->mutex);
  for (const Alert& alert : state_->active) ++active[static_cast<size_t>(alert.rule)];
  for (size_t rule = 0; rule < kRules; ++rule)
    metrics.push_back({.name = "sightline_alert_active",
                       .help = "The number of alerts of the rule that have started and not ended.",
                       .type = Metric::Type::kGauge,
                       .labels = {{"rule", std::string(ToString(static_cast<Rule>(rule)))}},
                       .value = static_cast<double>(active[rule])});
  metrics.push_back({.name = "sightline_alerts_started_total",
                     .help = "The number of alerts that were reported individually or as `others`.",
                     .value = static_cast<double>(state_->started)});
  if (state_->topics != nullptr)
    metrics.push_back(
        {.name = "sightline_monitor_dropped_total",
         .help =
             "The number of records for the topics `monitoring` and `alerts` that were dropped.",
         .value = static_cast<double>(state_->topics->dropped())});
}

AppendTime SampleEngine(const std::vector<PartitionHealth>& partitions,
                        const std::vector<SinkOptions>& sinks,
                        const std::function<LogEnd(const SourcePartition&)>& end_of,
                        MonitorReport& report) {
  AppendTime newest = kNoAppendTime;
  const bool several = SeveralTopics(partitions);
  std::map<std::string, int64_t> sums;
  for (const PartitionHealth& partition : partitions) {
    const TaskStatus& task = partition.task;
    PartitionSample& sample = report.sample.partitions.emplace_back();
    sample.partition = partition.partition.partition;
    if (several) sample.topic = TopicOfSource(partition.partition.source);
    sample.running = partition.health == TaskHealth::kRunning;
    sample.degraded = task.degraded;
    sample.lost_first = task.gap.first;
    sample.lost_next = task.gap.next;
    sample.reason = partition.reason;
    sample.position = task.position;
    const LogEnd end = end_of ? end_of(partition.partition) : LogEnd();
    sample.end = end.next;
    newest = std::max(newest, end.newest);
    sample.watermark = task.watermark;
    sample.clock_jumps = task.clock_jumps.count;
    sample.jumped_camera = task.clock_jumps.camera;
    for (const auto& pair : task.id_conflicts.pairs())
      sample.id_conflicts.push_back({pair.first, pair.second, pair.count});
    for (size_t i = 0; i < std::min(sinks.size(), task.sinks.size()); ++i) {
      sample.sinks.push_back({.name = sinks[i].name,
                              .committed = task.sinks[i].committed,
                              .interval = {sinks[i].CommitIntervalMs()}});
      sums["commits " + sinks[i].name] += task.sinks[i].commits;
    }
    sums["records"] += task.records;
    sums["lost_offsets"] += task.lost;
    sums["rebuilds"] += partition.rebuilds;
    sums["retries"] += task.retries;
    sums["checkpoints"] += task.checkpoints;
    sums["remembered_ids"] += task.remembered_ids;
    sums["cameras"] += task.cameras;
    sums["clock_jumps"] += task.clock_jumps.count;
    sums["pending_bytes"] += task.sealed_bytes;
    sums["spilled_bytes"] += task.spilled_bytes;
    sums["partitions_running"] += sample.running ? 1 : 0;
  }
  for (auto& [name, sum] : sums) report.numbers.emplace_back(name, sum);
  return newest;
}

ClockSample CompareBrokerClock(AppendTime newest, int64_t now_ms) {
  if (newest == kNoAppendTime || newest.v - now_ms < kBrokerAheadMs) return {};
  return {
      .reason = fmt::format(
          "the newest record of the raw topic has an append time {} min ahead of this machine's "
          "clock: a broker's clock is ahead, or this machine's is behind. Until they agree, events "
          "may be too late, and what is remembered of silent cameras may be forgotten",
          (newest.v - now_ms) / 60'000),
      .wall_ahead_ms = now_ms - newest.v};
}

void SampleSystem(const std::string& folder, MonitorReport& report) {
  const int64_t resident = ResidentBytes();
  report.numbers.emplace_back("memory_bytes", resident);
  // This is the file of control groups version 2. Without it, or if it says "max", there is no
  // limit.
  report.sample.limits.push_back({"memory", resident, NumberIn("/sys/fs/cgroup/memory.max", 0)});
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (error) return;
  report.sample.limits.push_back({"disk", static_cast<int64_t>(space.capacity - space.available),
                                  static_cast<int64_t>(space.capacity)});
  report.numbers.emplace_back("disk_available_bytes", static_cast<int64_t>(space.available));
}

void SampleKafka(const KafkaWriterStats& stats, MonitorReport& report) {
  report.numbers.emplace_back("kafka_commits", stats.commits);
  report.numbers.emplace_back("kafka_commits_failed", stats.failures);
  report.numbers.emplace_back("kafka_commit_microseconds", stats.commit_microseconds);
}

std::string InstanceOf(const AlertSettings& settings, const std::string& url) {
  if (!settings.instance.empty()) return settings.instance;
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  return fmt::format("{}:{}", host.data(), url.substr(url.rfind(':') + 1));
}

}  // namespace sightline
