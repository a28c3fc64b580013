#include "app/count.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "app/bare_server.h"
#include "app/engine_report.h"
#include "app/kafka_options.h"
#include "app/kafka_wait.h"
#include "app/lake_service.h"
#include "app/locations_refresh.h"
#include "app/monitor.h"
#include "app/monitor_topics.h"
#include "app/observed_sink.h"
#include "app/process.h"
#include "app/topic_watch.h"
#include "base/log.h"
#include "connectors/checkpoint_files/checkpoint_files.h"
#include "connectors/kafka/membership.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"
#include "monitor/activity.h"

namespace sightline {
namespace {

// What is read is committed before a partition goes to another process, or after SIGTERM.
constexpr Millis kHandOver{2'500};
constexpr std::chrono::seconds kStartTime{5};
constexpr Millis kWatch{1'000};

class Count {
 public:
  explicit Count(const UpOptions& options) : options_(options) {}

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
  SourcePartition Partition(int32_t partition) const { return {source_, partition}; }
  std::vector<SourcePartition> Partitions(const std::vector<int32_t>& numbers) const;
  void Wake(const SourcePartition& partition);
  void Report();
  Health TellHealth() const;
  Health TellReadiness() const;
  std::vector<Metric> Gather() const;

  const UpOptions options_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  SystemClock clock_;
  KafkaOptions kafka_;
  KafkaTopic topic_;
  std::string source_;
  std::unique_ptr<TopicWatch> watch_;
  // In the order of the start; destroyed in reverse.
  Pulse pulse_;
  mutable Activity activity_{static_cast<size_t>(options_.alert_subjects_known),
                             options_.alert_forget};
  mutable std::mutex sinks_mutex_;
  std::vector<SinkOptions> sinks_;         // of every task; under sinks_mutex_
  std::unique_ptr<MonitorTopics> topics_;  // null: nothing is published
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<LakeService> lake_;  // null: no lake.dir was given
  std::unique_ptr<KafkaReader> reader_;
  std::unique_ptr<KafkaWriter> writer_;
  std::unique_ptr<Runtime> runtime_;
  std::atomic<Runtime*> running_ = nullptr;  // runtime_, once it is made
  std::unique_ptr<KafkaMembership> membership_;
  std::unique_ptr<BareServer> server_;
};

Status Count::Start() {
  if (options_.kafka.brokers.empty())
    return Status::Stop("count reads raw events from Kafka: say --kafka host:port");
  RETURN_IF_ERROR(OpenTopic());
  RETURN_IF_ERROR(OpenLocations());
  RETURN_IF_ERROR(OpenLake());
  RETURN_IF_ERROR(OpenMonitor());
  writer_ = std::make_unique<KafkaWriter>(KafkaWriterOptions{
      .kafka = kafka_,
      .deployment = options_.kafka_deployment,
      .counts_topic = options_.kafka_counts_topic,
      .dead_letters_topic = options_.kafka_dead_letters_topic,
      .late_detections_topic = options_.kafka_late_detections_topic,
      .spec_id = fmt::format("{:016x}", options_.pipeline.Fingerprint()),
      .pane_size = options_.pipeline.pane_size,
      .location_name = [this](LocationId location) { return locations_->NameOf(location); },
      .locations_version = [this] { return locations_->state().version; }});
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  const auto threads = static_cast<int>(options_.engine_threads);
  runtime_ = std::make_unique<Runtime>(
      std::vector<SourcePartition>(),
      [this](const SourcePartition& partition) { return BuildTask(partition); },
      RuntimeOptions{.threads = threads > 0 ? threads : std::max(1, cores)});
  running_ = runtime_.get();
  RETURN_IF_ERROR(JoinGroup());
  RETURN_IF_ERROR(StartServer());
  monitor_->Start(InstanceOf(options_, server_->url()), server_->boot());
  return Status::Ok();
}

Status Count::OpenTopic() {
  Result<KafkaOptions> kafka = MakeKafkaOptions(options_);
  if (!kafka.ok()) return kafka.status();
  kafka_ = std::move(kafka).value();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka_, kKafkaAskTime);
  if (!admin.ok()) return admin.status();
  const Result<std::string> cluster = WaitForCluster(*admin.value(), options_, StopAsked);
  if (!cluster.ok()) return cluster.status();
  Result<KafkaTopic> topic =
      WaitForTopic(*admin.value(), options_, options_.kafka_topic, StopAsked);
  if (!topic.ok()) return topic.status();
  topic_ = std::move(topic).value();
  source_ = KafkaSourceName(cluster.value(), topic_);
  watch_ = std::make_unique<TopicWatch>(std::move(admin).value(), std::vector<KafkaTopic>{topic_});
  Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(kafka_);
  if (!reader.ok()) return reader.status();
  reader_ = std::move(reader).value();
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
  if (options_.lake_dir.empty()) return Status::Ok();
  Result<std::unique_ptr<LakeService>> lake = LakeService::Open(
      {.dir = options_.lake_dir,
       .window_size = options_.pipeline.window_size,
       .max_partitions = options_.lake_max_partitions,
       .retention_days = options_.lake_retention_days,
       .vacuum_retention = options_.lake_vacuum_retention,
       .maintenance_interval = options_.lake_maintenance_interval,
       .location_name = [this](LocationId location) { return locations_->NameOf(location); },
       .query = {}},
      clock_, locations_->locations());
  if (!lake.ok()) return lake.status();
  lake_ = std::move(lake).value();
  locations_->OnChange([this](const std::vector<Location>& known) { lake_->SetLocations(known); });
  return Status::Ok();
}

std::vector<SourcePartition> Count::Partitions(const std::vector<int32_t>& numbers) const {
  std::vector<SourcePartition> partitions;
  for (const int32_t number : numbers) partitions.push_back(Partition(number));
  return partitions;
}

Status Count::JoinGroup() {
  Result<std::unique_ptr<KafkaMembership>> joined =
      KafkaMembership::Join({.kafka = kafka_,
                             .group = options_.kafka_deployment + "-count",
                             .topic = topic_.name,
                             .on_assigned =
                                 [this](const std::vector<int32_t>& numbers) {
                                   for (const SourcePartition& partition : Partitions(numbers))
                                     runtime_->Add(partition);
                                 },
                             .on_revoked =
                                 [this](const std::vector<int32_t>& numbers) {
                                   runtime_->Remove(Partitions(numbers), kHandOver.v);
                                   for (const int32_t number : numbers) activity_.Forget(number);
                                 },
                             .session_timeout = options_.kafka_session_timeout});
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
  task.sinks.push_back(
      {.name = "kafka counts", .commit_interval_ms = options_.kafka_commit_interval.v});
  ports.sinks.push_back(std::make_unique<ObservedSink>(
      writer_->OpenSink(wake), [this](const SourcePartition& from, const Segment& segment) {
        activity_.Count(from, segment, SteadyMs());
      }));
  if (lake_) {
    const int64_t roll_ms = options_.lake_roll_interval.v;
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
  task.on_gap = options_.on_gap;
  task.checkpoint_interval_ms = options_.checkpoint_interval.v;
  task.sealed_bytes_max = options_.pending_max / topic_.partitions;
  task.spill_bytes_max = options_.spill_max / topic_.partitions;
  ports.source = reader_->OpenSource(topic_, partition.partition, wake);
  ports.store = std::make_unique<CheckpointFiles>(
      options_.checkpoint_dir.empty()
          ? (std::filesystem::path(options_.data) / "checkpoints").string()
          : options_.checkpoint_dir);
  return std::make_unique<PartitionTask>(partition, options_.pipeline, std::move(task),
                                         std::move(ports));
}

Status Count::StartServer() {
  Result<std::unique_ptr<BareServer>> server = BareServer::Start(
      options_, clock_,
      {.metrics = [this] { return Gather(); },
       .health = [this] { return TellHealth(); },
       .alive = [this] { return pulse_.Tell(); },
       .ready = [this] { return TellReadiness(); },
       .alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); },
       .alerts_version = [this] { return monitor_->version(); }});
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  return Status::Ok();
}

Status Count::OpenMonitor() {
  Result<std::unique_ptr<MonitorTopics>> topics = MonitorTopics::Open(options_);
  if (!topics.ok()) return topics.status();
  topics_ = std::move(topics).value();
  monitor_ = std::make_unique<Monitor>(
      MonitorOptions{.alerts = options_.alerts,
                     .step = "count",
                     .clock = &clock_,
                     .topics = topics_.get(),
                     .report = [this](MonitorReport& report) { ReportNow(report); }});
  return Status::Ok();
}

void Count::ReportNow(MonitorReport& report) const {
  MonitorSample& sample = report.sample;
  activity_.Fill(sample.now_ms, sample);
  // Other processes may hear a location whose cameras here are silent: `serve` watches them.
  sample.locations.clear();
  report.ledger = *sample.ledger;
  std::vector<SinkOptions> sinks;
  {
    const std::lock_guard lock(sinks_mutex_);
    sinks = sinks_;
  }
  const auto end_of = [this](const SourcePartition& partition) {
    return reader_->EndOf(topic_.id, partition.partition).next;
  };
  SampleEngine(runtime_->Snapshot(), sinks, end_of, report);
  SampleSystem(options_.data, report);
  SampleKafka(writer_->stats(), report);
  report.numbers.emplace_back("untracked", activity_.untracked());
  sample.clock_unguarded = ClockUnguarded(topic_);
  sample.troubles = {{"brokers", watch_->trouble()},
                     {"group", membership_->trouble()},
                     {"lake", lake_ ? lake_->trouble() : ""}};
}

Status Count::WaitForSignal() {
  return WaitForStop(kWatch, [this] {
    pulse_.Beat();
    locations_->Refresh();
    Report();
    return watch_->Look();
  });
}

void Count::Report() {
  for (const PartitionHealth& partition : runtime_->Snapshot())
    if (partition.task.running && !partition.task.sinks.empty() &&
        partition.task.sinks.front().committed != kNoneCommitted)
      membership_->Report(partition.partition.partition, partition.task.sinks.front().committed);
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

Health Count::TellHealth() const {
  Health health;
  TellEngine(runtime_->Snapshot(), std::chrono::steady_clock::now() - started_ > kStartTime,
             health);
  for (const std::string& trouble :
       {locations_->state().refused, lake_ ? lake_->trouble() : std::string(),
        membership_->trouble(), watch_->trouble()}) {
    if (trouble.empty()) continue;
    health.ok = false;
    health.reasons.push_back(trouble);
  }
  return health;
}

// One that has no partition can do all there is for it.
Health Count::TellReadiness() const {
  Health ready;
  TellReady(runtime_->Snapshot(), ready);
  for (const std::string& trouble : {membership_->trouble(), watch_->trouble()}) {
    if (trouble.empty()) continue;
    ready.ok = false;
    ready.reasons.push_back(trouble);
  }
  return ready;
}

std::vector<Metric> Count::Gather() const {
  std::vector<Metric> metrics;
  monitor_->Gather(metrics);
  const std::vector<PartitionHealth> partitions = runtime_->Snapshot();
  metrics.push_back({.name = "sightline_count_partitions",
                     .help = "that this process counts",
                     .type = Metric::Type::kGauge,
                     .value = static_cast<double>(partitions.size())});
  GatherEngine(partitions, metrics);
  GatherKafka(writer_->stats(), metrics);
  return metrics;
}

}  // namespace

Status RunCount(const UpOptions& options,
                const std::function<void(const std::string& url)>& ready) {
  return RunProcess<Count>(options, ready);
}

}  // namespace sightline
