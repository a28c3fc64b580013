#include "processes/count.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/data_folder.h"
#include "config/kafka_options.h"
#include "connectors/kafka/membership.h"
#include "connectors/kafka/writer.h"
#include "connectors/locations/locations_refresh.h"
#include "engine/runtime.h"
#include "history/lake_service.h"
#include "monitor/activity.h"
#include "processes/component_options.h"
#include "processes/kafka_raw_topics.h"
#include "processes/partition_task_builder.h"
#include "processes/process.h"
#include "processes/service_shell.h"
#include "telemetry/engine_report.h"
#include "telemetry/observed_sink.h"

namespace sightline {
namespace {

// How long a partition may take to commit what it has read, before another process gets it or after
// SIGTERM.
constexpr Millis kHandOver{2'500};
constexpr Millis kRenewTime{10'000};
constexpr std::chrono::seconds kStartTime{5};
constexpr Millis kWatch{1'000};
constexpr Millis kServerStop{500};

class Count {
 public:
  explicit Count(const Settings& settings) : settings_(settings) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return shell_.url(); }

 private:
  Status OpenTopic();
  Status OpenLocations();
  Status OpenLake();
  Status JoinGroup();
  void AddSinks();
  Result<std::unique_ptr<PartitionTask>> BuildTask(const SourcePartition& partition);
  void Take(const std::vector<KafkaPartition>& partitions);
  void Give(const std::vector<KafkaPartition>& partitions);
  void Settle();
  void Wake(const SourcePartition& partition, PartitionTask::PortSet called);
  void ReportProgress();
  void Sample(MonitorReport& report) const;
  Health ReportHealth() const;
  Health ReportReadiness() const;
  void CollectMetrics(std::vector<Metric>& metrics) const;

  const Settings settings_;
  const DataFolder folder_{settings_.data};
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  const SystemClock machine_clock_;
  LogClock clock_{machine_clock_};
  std::unique_ptr<KafkaRawTopics> raw_;
  // In the order of the start; destroyed in reverse.
  mutable Activity activity_{static_cast<size_t>(settings_.alerts.subjects_known),
                             settings_.alerts.forget};
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<LakeService> lake_;  // null: no lake.dir was given
  std::unique_ptr<KafkaWriter> writer_;
  PartitionTaskBuilder tasks_{settings_, settings_.CheckpointUri()};
  std::unique_ptr<Runtime> runtime_;
  std::atomic<Runtime*> running_ = nullptr;  // runtime_, once it is made
  std::mutex ours_mutex_;
  // The partitions that the group has assigned to us, and the source as which each is counted: none
  // until its topic is known here. Under ours_mutex_, like the runtime's Add() and Remove().
  std::map<KafkaPartition, std::optional<SourcePartition>> ours_;
  std::unique_ptr<KafkaMembership> membership_;
  ServiceShell shell_{settings_,
                      "count",
                      clock_,
                      {.sample = [this](MonitorReport& report) { Sample(report); },
                       .metrics = [this](std::vector<Metric>& all) { CollectMetrics(all); },
                       .health = [this] { return ReportHealth(); },
                       .ready = [this] { return ReportReadiness(); }}};
};

Status Count::Start() {
  if (!settings_.kafka.enabled())
    return Status::Stop("count reads raw events from Kafka: give --kafka host:port");
  RETURN_IF_ERROR(OpenTopic());
  RETURN_IF_ERROR(OpenLocations());
  RETURN_IF_ERROR(tasks_.ClaimSettings(/*has_counted=*/false));
  RETURN_IF_ERROR(OpenLake());
  RETURN_IF_ERROR(shell_.Open());
  Result<std::unique_ptr<KafkaWriter>> writer = OpenCountsWriter(
      settings_, *raw_,
      {.name = [this](LocationId location) { return locations_->NameOf(location); },
       .version = [this] { return locations_->state().version; }});
  if (!writer.ok()) return writer.status();
  writer_ = std::move(writer).value();
  AddSinks();
  runtime_ = std::make_unique<Runtime>(
      std::vector<SourcePartition>(),
      [this](const SourcePartition& partition) { return BuildTask(partition); },
      RuntimeOptionsOf(settings_.engine));
  running_ = runtime_.get();
  RETURN_IF_ERROR(JoinGroup());
  RETURN_IF_ERROR(shell_.ServeProbes());
  shell_.StartMonitor();
  return Status::Ok();
}

Status Count::OpenTopic() {
  Result<std::unique_ptr<KafkaRawTopics>> raw = KafkaRawTopics::Open(settings_.kafka, StopAsked);
  if (!raw.ok()) return raw.status();
  raw_ = std::move(raw).value();
  return Status::Ok();
}

Status Count::OpenLocations() {
  RETURN_IF_ERROR(folder_.Create());
  locations_ =
      std::make_unique<LocationsRefresh>(settings_.locations, folder_.last_good_locations("count"));
  return locations_->Load();
}

// All counting processes share one lake. Each commits the offsets of its own partitions.
Status Count::OpenLake() {
  if (settings_.lake.dir.empty()) {
    const Result<bool> had_lake = LakeService::Forget(settings_.KnownTablesOfCount());
    if (had_lake.ok() && had_lake.value()) tasks_.LakeIsOff();
    return had_lake.status();
  }
  LakeServiceOptions options = LakeOptionsOf(settings_, settings_.lake.dir);
  options.known_tables = settings_.KnownTablesOfCount();
  options.renew = "start all of its processes once without lake.dir";
  options.location_name = [this](LocationId location) { return locations_->NameOf(location); };
  Result<std::unique_ptr<LakeService>> lake =
      LakeService::Open(options, clock_, locations_->locations());
  if (!lake.ok()) return lake.status();
  lake_ = std::move(lake).value();
  locations_->OnChange([this](const std::vector<Location>& known) { lake_->SetLocations(known); });
  return Status::Ok();
}

// Called on the membership's thread, like Give().
void Count::Take(const std::vector<KafkaPartition>& partitions) {
  {
    const std::lock_guard lock(ours_mutex_);
    for (const KafkaPartition& partition : partitions) ours_[partition];
  }
  Settle();
}

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

// Starts to count our partitions as the sources that they are now. A topic that the group knows may
// not be known here yet, and a topic that was created again is another source.
void Count::Settle() {
  const std::lock_guard lock(ours_mutex_);
  for (auto& [partition, counted] : ours_) {
    const KafkaRawTopicPtr topic = raw_->Find(partition.topic);
    if (topic == nullptr) continue;
    if (counted && counted->source == topic->source) continue;
    // What was read from the old topic must reach every sink now: nobody can read it later.
    if (counted && !runtime_->Remove({*counted}, kRenewTime.v))
      LogError("some sinks have not committed everything that was read from the deleted topic");
    counted = SourcePartition{topic->source, partition.partition};
    runtime_->Add(*counted);
  }
}

Status Count::JoinGroup() {
  Result<std::unique_ptr<KafkaMembership>> joined = KafkaMembership::Join(
      {.kafka = raw_->kafka(),
       .group = settings_.kafka.deployment + "-count",
       .topics = raw_->name().Subscription(),
       .on_assigned = [this](const std::vector<KafkaPartition>& ours) { Take(ours); },
       .on_revoked = [this](const std::vector<KafkaPartition>& lost) { Give(lost); },
       .session_timeout = settings_.kafka.session_timeout});
  if (!joined.ok()) return joined.status();
  membership_ = std::move(joined).value();
  return Status::Ok();
}

void Count::Wake(const SourcePartition& partition, PartitionTask::PortSet called) {
  if (Runtime* const runtime = running_) runtime->Wake(partition, called);
}

void Count::AddSinks() {
  tasks_.AddSink(KafkaSinkOptions(settings_.kafka), [this](std::function<void()> wake) {
    return std::make_unique<ObservedSink>(
        writer_->OpenSink(std::move(wake)),
        [this](const SourcePartition& from, const Segment& segment) {
          activity_.Count(from, segment, SteadyMs());
        });
  });
  if (lake_) tasks_.AddLake(*lake_);
}

Result<std::unique_ptr<PartitionTask>> Count::BuildTask(const SourcePartition& partition) {
  const auto wake = [this, partition](PartitionTask::PortSet called) { Wake(partition, called); };
  const KafkaRawTopicPtr topic = raw_->FindSource(partition.source);
  return tasks_.Build(partition,
                      topic == nullptr
                          ? nullptr
                          : raw_->OpenSource(topic, partition.partition,
                                             [wake] { wake(PartitionTask::kSourcePort); }),
                      raw_->partitions(), wake);
}

void Count::Sample(MonitorReport& report) const {
  MonitorSample& sample = report.sample;
  activity_.Fill(sample.now_ms, sample);
  // `serve` watches these two: another process may count the other cameras of a location that is
  // silent here, and the other partition of a camera.
  sample.locations.clear();
  sample.splits.clear();
  report.ledger = *sample.ledger;
  const auto end_of = [this](const SourcePartition& partition) { return raw_->EndOf(partition); };
  const AppendTime newest = SampleEngine(runtime_->Snapshot(), tasks_.sinks(), end_of, report);
  SampleSystem(settings_.data, report);
  SampleKafka(writer_->stats(), report);
  report.numbers.emplace_back("untracked", activity_.untracked());
  sample.clock_unguarded = raw_->ClockUnguarded();
  if (sample.clock_unguarded.empty())
    sample.broker_clock = CompareBrokerClock(newest, clock_.NowMs());
  sample.troubles = {{"brokers", raw_->trouble()},
                     {"group", membership_->trouble()},
                     {"lake", lake_ ? lake_->trouble() : ""}};
}

Status Count::WaitForSignal() {
  return shell_.WaitForStop(kWatch, [this] {
    locations_->Refresh();
    ReportProgress();
    const KafkaRawTopics::Change change = raw_->Look();
    if (!change.found.empty()) Settle();
    return Status::Ok();
  });
}

// Reports to the group how far each partition is committed, for tools that show the lag of groups.
void Count::ReportProgress() {
  for (const PartitionHealth& partition : runtime_->Snapshot())
    if (partition.task.running && !partition.task.sinks.empty() &&
        partition.task.sinks.front().committed != kNoneCommitted)
      membership_->Report(
          {std::string(TopicOfSource(partition.partition.source)), partition.partition.partition},
          partition.task.sinks.front().committed);
}

// To leave the group drains our partitions and gives them to others.
void Count::Stop() {
  shell_.Stop(kServerStop);
  membership_.reset();
  shell_.Release();
  running_ = nullptr;
  runtime_.reset();
  writer_.reset();
  lake_.reset();
}

Health Count::ReportHealth() const {
  Health health;
  ReportEngineHealth(runtime_->Snapshot(), std::chrono::steady_clock::now() - started_ > kStartTime,
                     health);
  for (const std::string& trouble :
       {locations_->state().refused, lake_ ? lake_->trouble() : std::string(),
        membership_->trouble(), raw_->trouble()})
    health.FailIf(trouble);
  return health;
}

// A process without a partition is ready, too.
Health Count::ReportReadiness() const {
  Health ready;
  ReportEngineReadiness(runtime_->Snapshot(), ready);
  for (const std::string& trouble : {membership_->trouble(), raw_->trouble()})
    ready.FailIf(trouble);
  return ready;
}

void Count::CollectMetrics(std::vector<Metric>& metrics) const {
  const std::vector<PartitionHealth> partitions = runtime_->Snapshot();
  metrics.push_back(Metric::Gauge("sightline_count_partitions",
                                  "Partitions that this process counts.", std::ssize(partitions)));
  CollectEngineMetrics(partitions, metrics);
  CollectKafkaMetrics(writer_->stats(), metrics);
  if (lake_)
    for (Metric& metric : lake_->metrics()) metrics.push_back(std::move(metric));
}

}  // namespace

Status RunCount(const Settings& settings,
                const std::function<void(const std::string& url)>& ready) {
  const Result<Settings> own = WithStoredRules(settings, settings.CheckpointUri());
  if (!own.ok()) return StopAsked() ? Status::Ok() : own.status();
  return RunProcess<Count>(own.value(), ready);
}

}  // namespace sightline
