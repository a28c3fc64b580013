#include "processes/count.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/kafka_options.h"
#include "connectors/checkpoint_files/checkpoint_files.h"
#include "connectors/kafka/membership.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"
#include "history/lake_service.h"
#include "monitor/activity.h"
#include "processes/kafka_raw_topics.h"
#include "processes/locations_refresh.h"
#include "processes/probe_server.h"
#include "processes/process.h"
#include "telemetry/engine_report.h"
#include "telemetry/monitor.h"
#include "telemetry/observed_sink.h"

namespace sightline {
namespace {

// What is read is committed before a partition goes to another process, or after SIGTERM.
constexpr Millis kHandOver{2'500};
constexpr Millis kRenewTime{10'000};
constexpr std::chrono::seconds kStartTime{5};
constexpr Millis kWatch{1'000};

class Count {
 public:
  explicit Count(const Settings& options) : options_(options) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return server_->url(); }

 private:
  Status OpenTopic();
  Status OpenLocations();
  Status OpenLake();
  Status JoinGroup();
  Status StartServer();
  Status OpenMonitor();
  void ReportNow(MonitorReport& report) const;
  Result<std::unique_ptr<PartitionTask>> BuildTask(const SourcePartition& partition);
  void Take(const std::vector<KafkaPartition>& partitions);
  void Give(const std::vector<KafkaPartition>& partitions);
  void Settle();
  void Wake(const SourcePartition& partition);
  void Report();
  Health ReportHealth() const;
  Health ReportReadiness() const;
  std::vector<Metric> CollectMetrics() const;

  const Settings options_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  SystemClock clock_;
  KafkaOptions kafka_;
  std::unique_ptr<KafkaRawTopics> raw_;
  // In the order of the start; destroyed in reverse.
  Pulse pulse_;
  mutable Activity activity_{static_cast<size_t>(options_.alerts.subjects_known),
                             options_.alerts.forget};
  mutable std::mutex sinks_mutex_;
  std::vector<SinkOptions> sinks_;  // of every task; under sinks_mutex_
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<LakeService> lake_;  // null: no lake.dir was given
  std::unique_ptr<KafkaWriter> writer_;
  std::unique_ptr<Runtime> runtime_;
  std::atomic<Runtime*> running_ = nullptr;  // runtime_, once it is made
  std::mutex ours_mutex_;
  // What the group has given us, and as what it is counted: nothing before its topic is known here.
  // Under ours_mutex_, as are Add() and Remove() of the runtime.
  std::map<KafkaPartition, std::optional<SourcePartition>> ours_;
  std::unique_ptr<KafkaMembership> membership_;
  std::unique_ptr<BareServer> server_;
};

Status Count::Start() {
  if (options_.kafka.client.brokers.empty())
    return Status::Stop("count reads raw events from Kafka: say --kafka host:port");
  RETURN_IF_ERROR(OpenTopic());
  RETURN_IF_ERROR(OpenLocations());
  RETURN_IF_ERROR(OpenLake());
  RETURN_IF_ERROR(OpenMonitor());
  auto partition_of = CountsPartitions(*raw_, options_.kafka, StopAsked);
  if (!partition_of.ok()) return partition_of.status();
  writer_ = std::make_unique<KafkaWriter>(KafkaWriterOptions{
      .kafka = kafka_,
      .deployment = options_.kafka.deployment,
      .counts_topic = options_.kafka.counts_topic,
      .dead_letters_topic = options_.kafka.dead_letters_topic,
      .late_detections_topic = options_.kafka.late_detections_topic,
      .partition_of = std::move(partition_of).value(),
      .spec_id = fmt::format("{:016x}", options_.pipeline.Fingerprint()),
      .pane_size = options_.pipeline.pane_size,
      .location_name = [this](LocationId location) { return locations_->NameOf(location); },
      .locations_version = [this] { return locations_->state().version; },
      .group_age_max = options_.kafka.group_interval,
      .repeat_interval = ProgressRepeatInterval(options_.kafka)});
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  const auto threads = static_cast<int>(options_.engine.threads);
  runtime_ = std::make_unique<Runtime>(
      std::vector<SourcePartition>(),
      [this](const SourcePartition& partition) { return BuildTask(partition); },
      RuntimeOptions{.threads = threads > 0 ? threads : std::max(1, cores)});
  running_ = runtime_.get();
  RETURN_IF_ERROR(JoinGroup());
  RETURN_IF_ERROR(StartServer());
  monitor_->Start(InstanceOf(options_.alerts, server_->url()), server_->boot());
  return Status::Ok();
}

Status Count::OpenTopic() {
  Result<KafkaOptions> kafka = MakeKafkaOptions(options_.kafka);
  if (!kafka.ok()) return kafka.status();
  kafka_ = std::move(kafka).value();
  Result<std::unique_ptr<KafkaRawTopics>> raw = KafkaRawTopics::Open(options_.kafka, StopAsked);
  if (!raw.ok()) return raw.status();
  raw_ = std::move(raw).value();
  return Status::Ok();
}

Status Count::OpenLocations() {
  std::error_code error;
  std::filesystem::create_directories(options_.data, error);
  if (error)
    return Status::Stop(
        fmt::format("cannot make the data folder '{}': {}", options_.data, error.message()));
  locations_ = std::make_unique<LocationsRefresh>(
      options_.locations,
      (std::filesystem::path(options_.data) / "count_locations.last_good").string());
  return locations_->Load();
}

// A lake that all counting processes share: each commits its own partitions' offsets.
Status Count::OpenLake() {
  if (options_.lake.dir.empty()) return Status::Ok();
  Result<std::unique_ptr<LakeService>> lake = LakeService::Open(
      {.dir = options_.lake.dir,
       .window_size = options_.pipeline.window_size,
       .max_partitions = options_.lake.max_partitions,
       .retention_days = options_.lake.retention_days,
       .vacuum_retention = options_.lake.vacuum_retention,
       .maintenance_interval = options_.lake.maintenance_interval,
       .location_name = [this](LocationId location) { return locations_->NameOf(location); },
       .query = {}},
      clock_, locations_->locations());
  if (!lake.ok()) return lake.status();
  lake_ = std::move(lake).value();
  locations_->OnChange([this](const std::vector<Location>& known) { lake_->SetLocations(known); });
  return Status::Ok();
}

// On the membership's thread.
void Count::Take(const std::vector<KafkaPartition>& partitions) {
  {
    const std::lock_guard lock(ours_mutex_);
    for (const KafkaPartition& partition : partitions) ours_[partition];
  }
  Settle();
}

// Likewise.
void Count::Give(const std::vector<KafkaPartition>& partitions) {
  const std::lock_guard lock(ours_mutex_);
  std::vector<SourcePartition> counted;
  for (const KafkaPartition& partition : partitions) {
    const auto found = ours_.find(partition);
    if (found == ours_.end()) continue;
    if (found->second) counted.push_back(*found->second);
    ours_.erase(found);
  }
  runtime_->Remove(counted, kHandOver.v);
  for (const SourcePartition& partition : counted) activity_.Forget(partition);
}

// Counts what is ours as what it is now: a topic that the group knows may not be known here yet,
// and one that was made again is another source.
void Count::Settle() {
  const std::lock_guard lock(ours_mutex_);
  for (auto& [partition, counted] : ours_) {
    const KafkaRawTopicPtr topic = raw_->Find(partition.topic);
    if (topic == nullptr) continue;
    if (counted && counted->source == topic->source) continue;
    // What it had read reaches every sink: nobody will do it later.
    if (counted && !runtime_->Remove({*counted}, kRenewTime.v))
      LogError("not everything that was read of the old topic is committed to every sink");
    counted = SourcePartition{topic->source, partition.partition};
    runtime_->Add(*counted);
  }
}

Status Count::JoinGroup() {
  Result<std::unique_ptr<KafkaMembership>> joined = KafkaMembership::Join(
      {.kafka = kafka_,
       .group = options_.kafka.deployment + "-count",
       .topics = raw_->name().Subscription(),
       .on_assigned = [this](const std::vector<KafkaPartition>& ours) { Take(ours); },
       .on_revoked = [this](const std::vector<KafkaPartition>& lost) { Give(lost); },
       .session_timeout = options_.kafka.session_timeout});
  if (!joined.ok()) return joined.status();
  membership_ = std::move(joined).value();
  return Status::Ok();
}

void Count::Wake(const SourcePartition& partition) {
  if (Runtime* const runtime = running_) runtime->Wake(partition);
}

Result<std::unique_ptr<PartitionTask>> Count::BuildTask(const SourcePartition& partition) {
  const auto wake = [this, partition] { Wake(partition); };
  TaskOptions task;
  TaskPorts ports;
  task.sinks.push_back(KafkaSinkOptions(options_.kafka));
  ports.sinks.push_back(std::make_unique<ObservedSink>(
      writer_->OpenSink(wake), [this](const SourcePartition& from, const Segment& segment) {
        activity_.Count(from, segment, SteadyMs());
      }));
  if (lake_) {
    const int64_t roll_ms = options_.lake.roll_interval.v;
    task.sinks.push_back({.name = "lake counts", .commit_interval_ms = roll_ms, .together = true});
    ports.sinks.push_back(lake_->OpenCountsSink(wake));
    task.sinks.push_back({.name = "lake ledger", .commit_interval_ms = roll_ms, .together = true});
    ports.sinks.push_back(lake_->OpenLedgerSink(wake));
  }
  {
    const std::lock_guard lock(sinks_mutex_);
    sinks_ = task.sinks;
  }
  task.hash_seed = std::random_device()() | uint64_t{std::random_device()()} << 32;
  task.on_gap = options_.engine.on_gap;
  task.checkpoint_interval_ms = options_.engine.checkpoint_interval.v;
  const KafkaRawTopicPtr topic = raw_->FindSource(partition.source);
  if (topic == nullptr) return Status::Retry("its topic is gone");
  const int32_t partitions = std::max(1, raw_->partitions());
  task.sealed_bytes_max = options_.engine.pending_max / partitions;
  task.spill_bytes_max = options_.engine.spill_max / partitions;
  ports.source = raw_->OpenSource(topic, partition.partition, wake);
  ports.store = std::make_unique<CheckpointFiles>(
      options_.engine.checkpoint_dir.empty()
          ? (std::filesystem::path(options_.data) / "checkpoints").string()
          : options_.engine.checkpoint_dir);
  return std::make_unique<PartitionTask>(partition, options_.pipeline, std::move(task),
                                         std::move(ports));
}

Status Count::StartServer() {
  Result<std::unique_ptr<BareServer>> server = BareServer::Start(
      options_, clock_,
      {.metrics = [this] { return CollectMetrics(); },
       .health = [this] { return ReportHealth(); },
       .alive = [this] { return pulse_.ReportHealth(); },
       .ready = [this] { return ReportReadiness(); },
       .alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); },
       .alerts_version = [this] { return monitor_->version(); }});
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  return Status::Ok();
}

Status Count::OpenMonitor() {
  Result<std::unique_ptr<Monitor>> monitor = Monitor::Open(
      options_, "count", clock_, [this](MonitorReport& report) { ReportNow(report); });
  if (!monitor.ok()) return monitor.status();
  monitor_ = std::move(monitor).value();
  return Status::Ok();
}

void Count::ReportNow(MonitorReport& report) const {
  MonitorSample& sample = report.sample;
  activity_.Fill(sample.now_ms, sample);
  // Other processes may hear a location whose cameras here are silent, and a camera in another
  // partition: `serve` watches both.
  sample.locations.clear();
  sample.splits.clear();
  report.ledger = *sample.ledger;
  std::vector<SinkOptions> sinks;
  {
    const std::lock_guard lock(sinks_mutex_);
    sinks = sinks_;
  }
  const auto end_of = [this](const SourcePartition& partition) {
    return raw_->EndOf(partition).next;
  };
  SampleEngine(runtime_->Snapshot(), sinks, end_of, report);
  SampleSystem(options_.data, report);
  SampleKafka(writer_->stats(), report);
  report.numbers.emplace_back("untracked", activity_.untracked());
  sample.clock_unguarded = raw_->ClockUnguarded();
  sample.troubles = {{"brokers", raw_->trouble()},
                     {"group", membership_->trouble()},
                     {"lake", lake_ ? lake_->trouble() : ""}};
}

Status Count::WaitForSignal() {
  return WaitForStop(kWatch, [this] {
    pulse_.Beat();
    locations_->Refresh();
    Report();
    const KafkaRawTopics::Change change = raw_->Look();
    if (!change.found.empty()) Settle();
    return Status::Ok();
  });
}

void Count::Report() {
  for (const PartitionHealth& partition : runtime_->Snapshot())
    if (partition.task.running && !partition.task.sinks.empty() &&
        partition.task.sinks.front().committed != kNoneCommitted)
      membership_->Report(
          {std::string(TopicOfSource(partition.partition.source)), partition.partition.partition},
          partition.task.sinks.front().committed);
}

// Leaving the group drains what is ours and gives it away.
void Count::Stop() {
  LogInfo("stopping");
  if (server_) server_->Stop();
  if (monitor_) monitor_->Stop();
  membership_.reset();
  server_.reset();
  running_ = nullptr;
  runtime_.reset();
  writer_.reset();
  lake_.reset();
  LogInfo("stopped");
}

Health Count::ReportHealth() const {
  Health health;
  ReportEngineHealth(runtime_->Snapshot(), std::chrono::steady_clock::now() - started_ > kStartTime,
                     health);
  for (const std::string& trouble :
       {locations_->state().refused, lake_ ? lake_->trouble() : std::string(),
        membership_->trouble(), raw_->trouble()}) {
    if (trouble.empty()) continue;
    health.ok = false;
    health.reasons.push_back(trouble);
  }
  return health;
}

// One that has no partition can do all there is for it.
Health Count::ReportReadiness() const {
  Health ready;
  ReportEngineReadiness(runtime_->Snapshot(), ready);
  for (const std::string& trouble : {membership_->trouble(), raw_->trouble()}) {
    if (trouble.empty()) continue;
    ready.ok = false;
    ready.reasons.push_back(trouble);
  }
  return ready;
}

std::vector<Metric> Count::CollectMetrics() const {
  std::vector<Metric> metrics;
  monitor_->CollectMetrics(metrics);
  const std::vector<PartitionHealth> partitions = runtime_->Snapshot();
  metrics.push_back({.name = "sightline_count_partitions",
                     .help = "that this process counts",
                     .type = Metric::Type::kGauge,
                     .value = static_cast<double>(partitions.size())});
  CollectEngineMetrics(partitions, metrics);
  CollectKafkaMetrics(writer_->stats(), metrics);
  return metrics;
}

}  // namespace

Status RunCount(const Settings& options, const std::function<void(const std::string& url)>& ready) {
  return RunProcess<Count>(options, ready);
}

}  // namespace sightline
