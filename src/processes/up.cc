#include "processes/up.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/log.h"
#include "camera/camera.h"
#include "config/data_folder.h"
#include "config/kafka_options.h"
#include "connectors/embedded_log/log.h"
#include "connectors/kafka/writer.h"
#include "connectors/locations/locations_refresh.h"
#include "engine/runtime.h"
#include "history/lake_service.h"
#include "history/pinned_runs.h"
#include "live/hub.h"
#include "live/live.h"
#include "monitor/activity.h"
#include "processes/component_options.h"
#include "processes/demo.h"
#include "processes/kafka_raw_topics.h"
#include "processes/live_sink.h"
#include "processes/partition_task_builder.h"
#include "processes/process.h"
#include "processes/raw_log.h"
#include "processes/service_shell.h"
#include "server/server.h"
#include "telemetry/engine_report.h"
#include "telemetry/monitor.h"
#include "telemetry/observed_sink.h"

namespace sightline {
namespace {

// From SIGTERM to exit it takes less than 5 s: the sum of these parts.
constexpr Millis kCameraStop{500};
constexpr Millis kServerStop{1'000};
constexpr Millis kReadRest{500};
constexpr Millis kEngineStop{2'500};
constexpr Millis kDay{86'400'000};
// /healthz names a partition that is still starting after this time.
constexpr std::chrono::seconds kStartTime{5};
// The server starts when everything durable is counted, or after this time.
constexpr Millis kCatchUpTime{2'000};
constexpr std::chrono::milliseconds kCatchUpPoll{2};
constexpr Millis kTick{1'000};  // of the main loop, at most
constexpr Millis kRenewTime{10'000};

class Up {
 public:
  explicit Up(const Settings& settings) : settings_(settings) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return shell_.url(); }

 private:
  Status OpenLog();
  Status OpenKafka();
  Status OpenLake();
  Status SwitchLakeOff();
  void SetLocations(const std::vector<Location>& locations);
  Status LoadLive();
  Status LoadLive(const SourcePartition& partition);
  void StartEngine();
  std::vector<PartitionHealth> EngineSnapshot() const;
  Status WatchRawLog();
  void CatchUp(Millis at_most) const;
  void Wake(const SourcePartition& partition, PartitionTask::PortSet called);
  void AddSinks();
  Result<std::unique_ptr<PartitionTask>> BuildTask(const SourcePartition& partition);
  void ExpectLocations();
  void Sample(MonitorReport& report) const;
  Status StartDemo();
  void RunDemoCamera(CameraOptions camera);
  Health ReportHealth() const;
  Health ReportReadiness() const;
  void CollectMetrics(std::vector<Metric>& metrics) const;
  void CollectLiveMetrics(std::vector<Metric>& metrics) const;
  void CollectLogMetrics(std::vector<Metric>& metrics) const;

  const Settings settings_;
  const DataFolder folder_{settings_.data};
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  const SystemClock machine_clock_;
  LogClock clock_{machine_clock_};
  // In the order of the start; destroyed in reverse.
  mutable Activity activity_{static_cast<size_t>(settings_.alerts.subjects_known),
                             settings_.alerts.forget};
  std::unique_ptr<EmbeddedLog> log_;
  OpenedRawLog raw_;
  std::unique_ptr<Live> live_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<PinnedRuns> runs_;
  std::unique_ptr<LakeService> lake_;   // null: switched off
  std::unique_ptr<KafkaWriter> kafka_;  // null: nothing is published
  mutable std::mutex runtime_mutex_;
  std::unique_ptr<Runtime> runtime_;  // for other threads than the main one: under runtime_mutex_
  std::atomic<Runtime*> running_ = nullptr;  // runtime_, once it is made
  PartitionTaskBuilder tasks_{settings_, folder_.checkpoints()};
  int64_t locations_looked_ms_ = SteadyMs();
  ServiceShell shell_{settings_,
                      "up",
                      clock_,
                      {.sample = [this](MonitorReport& report) { Sample(report); },
                       .metrics = [this](std::vector<Metric>& all) { CollectMetrics(all); },
                       .health = [this] { return ReportHealth(); },
                       .ready = [this] { return ReportReadiness(); }}};
  bool address_written_ = false;  // if not, the file belongs to the process that owns the folder
  std::atomic<bool> stop_cameras_ = false;
  std::vector<std::thread> cameras_;
};

Status Up::Start() {
  RETURN_IF_ERROR(OpenLog());
  const Result<std::vector<SourcePartition>> counted = log_->CountedPartitions();
  if (!counted.ok()) return counted.status();
  RETURN_IF_ERROR(tasks_.ClaimSettings(!counted.value().empty()));
  const Result<ListenAddress> listen = ParseListen(settings_.listen);
  if (!listen.ok()) return listen.status();
  live_ = std::make_unique<Live>(LiveOptionsOf(settings_,
                                               [this](const SourcePartition& partition) {
                                                 return raw_.log->EndOf(partition);
                                               }),
                                 &clock_);
  RETURN_IF_ERROR(shell_.Open());
  hub_ = std::make_unique<Hub>(
      live_.get(), &clock_,
      HubOptions{.min_interval = settings_.live.push_interval,
                 .alerts_version = [this] { return shell_.alerts_version(); }});
  std::string table = settings_.locations;
  if (table.empty() && settings_.demo) {
    const Result<std::string> written = WriteDemoLocations(folder_.demo());
    if (!written.ok()) return written.status();
    table = written.value();
  }
  locations_ = std::make_unique<LocationsRefresh>(table, folder_.last_good_locations());
  RETURN_IF_ERROR(locations_->Load());
  RETURN_IF_ERROR(settings_.lake.enabled ? OpenLake() : SwitchLakeOff());
  if (!table.empty()) SetLocations(locations_->locations());
  locations_->OnChange([this](const std::vector<Location>& known) { SetLocations(known); });
  RETURN_IF_ERROR(LoadLive());
  AddSinks();
  StartEngine();
  CatchUp(kCatchUpTime);
  RETURN_IF_ERROR(shell_.Serve({.log = raw_.detections,
                                .live = live_.get(),
                                .hub = hub_.get(),
                                .queries = lake_ ? lake_->queries() : nullptr}));
  RETURN_IF_ERROR(folder_.WriteAddress({shell_.url(), hub_->boot()}));
  address_written_ = true;
  ExpectLocations();
  shell_.StartMonitor();
  return settings_.demo ? StartDemo() : Status::Ok();
}

Status Up::OpenLake() {
  const std::string dir = settings_.lake.dir.empty() ? folder_.lake() : settings_.lake.dir;
  Result<std::unique_ptr<PinnedRuns>> runs =
      PinnedRuns::Open(folder_.checkpoints(), folder_.pending());
  if (!runs.ok()) return runs.status();
  runs_ = std::move(runs).value();
  LakeServiceOptions options = LakeOptionsOf(settings_, dir);
  options.known_tables = folder_.known_tables();
  options.renew = "start once with lake.enabled = false";
  options.location_name = [this](LocationId location) { return locations_->NameOf(location); };
  options.runs = runs_.get();
  options.engine = {
      .partitions = [this] { return EngineSnapshot(); },
      .end_of = [this](const SourcePartition& partition) { return raw_.log->EndOf(partition); }};
  options.open_queries = OpenQueryWorkers(settings_.query, {folder_.pending()});
  Result<std::unique_ptr<LakeService>> lake =
      LakeService::Open(options, clock_, locations_->locations());
  if (!lake.ok()) return lake.status();
  lake_ = std::move(lake).value();
  return Status::Ok();
}

// When it is on again, it may be another lake. An earlier version has remembered no tables, but
// then there is a folder.
Status Up::SwitchLakeOff() {
  const Result<bool> had_lake = LakeService::Forget(folder_.known_tables());
  if (!had_lake.ok()) return had_lake.status();
  std::error_code error;
  const std::string dir = settings_.lake.dir.empty() ? folder_.lake() : settings_.lake.dir;
  if (had_lake.value() || std::filesystem::exists(dir, error)) tasks_.LakeIsOff();
  return Status::Ok();
}

void Up::SetLocations(const std::vector<Location>& locations) {
  live_->SetLocations(locations);
  if (lake_) lake_->SetLocations(locations);
}

Status Up::OpenLog() {
  RETURN_IF_ERROR(folder_.Create());
  Result<std::unique_ptr<EmbeddedLog>> log = EmbeddedLog::Open(
      {.dir = settings_.data,
       .partitions = static_cast<int32_t>(settings_.partitions),
       .clock = &clock_,
       .clock_ahead_max = settings_.pipeline.max_age.value_or(settings_.pipeline.camera_ttl),
       .retention_age = settings_.log.retention,
       .retention_bytes = settings_.log.size_max,
       .queue_bytes_max = settings_.log.queue_max});
  if (!log.ok()) return log.status();
  log_ = std::move(log).value();
  if (settings_.kafka.enabled()) return OpenKafka();
  raw_ = OpenEmbeddedRawLog(log_.get());
  return Status::Ok();
}

Status Up::OpenKafka() {
  Result<std::unique_ptr<KafkaRawTopics>> opened = KafkaRawTopics::Open(settings_.kafka, StopAsked);
  if (!opened.ok()) return opened.status();
  const std::shared_ptr<KafkaRawTopics> topics = std::move(opened).value();
  Result<OpenedRawLog> raw = OpenKafkaRawLog(topics, settings_.log.queue_max);
  if (!raw.ok()) return raw.status();
  raw_ = std::move(raw).value();
  if (!settings_.kafka.publish) return Status::Ok();
  Result<std::unique_ptr<KafkaWriter>> writer = OpenCountsWriter(
      settings_, *topics,
      {.name = [this](LocationId location) { return locations_->NameOf(location); },
       .version = [this] { return locations_->state().version; }});
  if (!writer.ok()) return writer.status();
  kafka_ = std::move(writer).value();
  return Status::Ok();
}

// Loads the durable counts, also those of sources that are no longer read. The tasks add what lies
// behind their committed offsets.
Status Up::LoadLive() {
  const auto start = std::chrono::steady_clock::now();
  Result<std::vector<SourcePartition>> counted = log_->CountedPartitions();
  if (!counted.ok()) return counted.status();
  std::set<SourcePartition> all(counted.value().begin(), counted.value().end());
  for (const SourcePartition& partition : raw_.log->Partitions()) all.insert(partition);
  for (const SourcePartition& partition : all) RETURN_IF_ERROR(LoadLive(partition));
  const auto took = std::chrono::steady_clock::now() - start;
  LogInfo(fmt::format("counts loaded in {} ms",
                      std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  return Status::Ok();
}

Status Up::LoadLive(const SourcePartition& partition) {
  const EventTime not_before = EventTime{clock_.NowMs()} - kDay - Millis{3'600'000};
  Result<std::optional<CountsProgress>> progress = log_->Progress(partition);
  if (!progress.ok()) return progress.status();
  const CountsProgress known = progress.value().value_or(CountsProgress{.next = kNothingApplied});
  live_->Load(partition, {}, known.next, known.ledger, known.watermark);
  // A source that is no longer read has no task, so queries must not wait for it.
  if (lake_ && progress.value() && std::ranges::count(raw_.log->Partitions(), partition) > 0)
    lake_->view().Expect(partition, known.next);
  return log_->ForEachGroup(partition, not_before, [&](Segment&& group) {
    live_->Load(partition, {&group, 1}, known.next, known.ledger);
  });
}

void Up::StartEngine() {
  auto runtime = std::make_unique<Runtime>(
      raw_.log->Partitions(),
      [this](const SourcePartition& partition) { return BuildTask(partition); },
      RuntimeOptionsOf(settings_.engine));
  running_ = runtime.get();
  const std::lock_guard lock(runtime_mutex_);
  runtime_ = std::move(runtime);
}

std::vector<PartitionHealth> Up::EngineSnapshot() const {
  const std::lock_guard lock(runtime_mutex_);
  return runtime_ == nullptr ? std::vector<PartitionHealth>() : runtime_->Snapshot();
}

// Before the restart, live had shown counts that were not committed yet. A viewer who comes back
// must not see less, so the server starts only when they are counted again. If that takes long it
// starts all the same, because detections must be taken.
void Up::CatchUp(Millis at_most) const {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(at_most.v);
  const auto behind = [this](const PartitionHealth& partition) {
    const Offset next = raw_.log->EndOf(partition.partition).next;
    return partition.health != TaskHealth::kStopped && next.v > 0 &&
           live_->Committed(partition.partition) < next;
  };
  while (std::chrono::steady_clock::now() < until && std::ranges::any_of(EngineSnapshot(), behind))
    std::this_thread::sleep_for(kCatchUpPoll);
}

// Also called during the runtime's construction: its threads start before running_ is set.
void Up::Wake(const SourcePartition& partition, PartitionTask::PortSet called) {
  if (Runtime* const runtime = running_) runtime->Wake(partition, called);
}

// The order of the sinks is the order in which a task offers its segments.
void Up::AddSinks() {
  // Queries come first, so that they know everything that is on the screen.
  if (lake_) tasks_.AddPending(*lake_);
  tasks_.AddSink({.name = "live"}, [this](const std::function<void()>&) {
    return std::make_unique<ObservedSink>(
        std::make_unique<LiveSink>(live_.get()),
        [this](const SourcePartition& from, const Segment& segment) {
          activity_.Count(from, segment, SteadyMs());
        });
  });
  tasks_.AddSink({.name = "counts", .commit_interval_ms = settings_.engine.commit_interval.v},
                 [this](std::function<void()> wake) {
                   return log_->OpenCountsSink({.on_answer = std::move(wake)});
                 });
  if (lake_) tasks_.AddLake(*lake_);
  const SinkOptions kafka = KafkaSinkOptions(settings_.kafka);
  if (kafka_) {
    tasks_.AddSink(
        kafka, [this](std::function<void()> wake) { return kafka_->OpenSink(std::move(wake)); });
  } else if (settings_.kafka.enabled()) {
    tasks_.SinkIsOff(kafka.name);
  }
}

Result<std::unique_ptr<PartitionTask>> Up::BuildTask(const SourcePartition& partition) {
  const auto wake = [this, partition](PartitionTask::PortSet called) { Wake(partition, called); };
  return tasks_.Build(partition,
                      raw_.log->OpenSource(partition, [wake] { wake(PartitionTask::kSourcePort); }),
                      std::ssize(raw_.log->Partitions()), wake);
}

// Locations with counts are expected to be heard: an alert starts if they are silent from the
// start.
void Up::ExpectLocations() {
  for (const LocationTotal& location :
       live_->Locations(Scope::All(), WindowChoice::Parse("24h").value()))
    if (location.total > 0) activity_.Expect(location.location, SteadyMs());
}

void Up::Sample(MonitorReport& report) const {
  MonitorSample& sample = report.sample;
  activity_.Fill(sample.now_ms, sample);
  const AppendTime newest = SampleEngine(
      EngineSnapshot(), tasks_.sinks(),
      [this](const SourcePartition& partition) { return raw_.log->EndOf(partition); }, report);
  SampleSystem(settings_.data, report);
  report.ledger = live_->LedgerTotal(Scope::All());
  int64_t spilled = 0;
  for (const auto& [name, value] : report.numbers)
    if (name == "spilled_bytes") spilled = value;
  sample.limits.push_back({"spill", spilled, settings_.engine.spill_max});
  const RawLogReport raw = raw_.log->Report();
  sample.clock_unguarded = raw.clock_unguarded;
  if (settings_.kafka.enabled() && raw.clock_unguarded.empty())
    sample.broker_clock = CompareBrokerClock(newest, clock_.NowMs());
  sample.troubles = {{"log", log_->Health().message()},
                     {"raw log", raw.health.message()},
                     {"lake", lake_ ? lake_->trouble() : ""}};
  const EmbeddedLogStats log = log_->stats();
  report.numbers.emplace_back("log_commits", log.commits);
  report.numbers.emplace_back("log_commits_failed", log.commits_failed);
  report.numbers.emplace_back("log_commit_microseconds",
                              static_cast<int64_t>(log.commit_seconds * 1e6));
  report.numbers.emplace_back("log_appends_refused", log.appends_refused);
  report.numbers.emplace_back("viewers", hub_->viewers());
  report.numbers.emplace_back("untracked", activity_.untracked());
  if (kafka_) SampleKafka(kafka_->stats(), report);
}

Status Up::StartDemo() {
  const std::string folder = folder_.demo();
  const Result<std::string> recording = WriteDemoRecording(folder);
  if (!recording.ok()) return recording.status();
  CameraOptions pedestrians;
  pedestrians.source = CameraOptions::Source::kPlayback;
  pedestrians.playback = {
      .path = recording.value(), .speed = 1, .shift_to_now = true, .loop = true};
  pedestrians.spool.directory = folder + "/spool-pedestrians";
  CameraOptions city;
  city.spool.directory = folder + "/spool-city";
  for (CameraOptions* camera : {&pedestrians, &city}) {
    camera->sender.url = shell_.url();
    camera->stop_time = kCameraStop;
    cameras_.emplace_back([this, c = *camera] { RunDemoCamera(c); });
  }
  return Status::Ok();
}

void Up::RunDemoCamera(CameraOptions camera) {
  const Status status = RunCamera(camera, stop_cameras_, [](std::string_view) {});
  if (!status.ok()) LogError("a demo camera failed: " + status.message());
}

Status Up::WaitForSignal() {
  const Millis tick = std::min(kTick, settings_.locations_refresh);
  return shell_.WaitForStop(tick, [this] {
    if (SteadyMs() - locations_looked_ms_ >= settings_.locations_refresh.v) {
      locations_->Refresh();
      locations_looked_ms_ = SteadyMs();
    }
    return WatchRawLog();
  });
}

// New topics are new sources, counted from their start. The counts of deleted topics stay.
Status Up::WatchRawLog() {
  const RawLog::Change change = raw_.log->Look();
  // What was read from deleted topics must reach every sink now: nobody can read it later.
  if (!change.gone.empty() && !runtime_->Remove(change.gone, kRenewTime.v))
    LogError("some sinks have not committed everything that was read from the deleted topic");
  for (const SourcePartition& partition : change.found) {
    RETURN_IF_ERROR(LoadLive(partition));
    runtime_->Add(partition);
  }
  return Status::Ok();
}

void Up::Stop() {
  if (address_written_) folder_.RemoveAddress();
  stop_cameras_ = true;
  for (std::thread& camera : cameras_) camera.join();
  cameras_.clear();
  shell_.Stop(kServerStop);
  // Counts what the server has taken, if that is little: `handover` expects that nothing is left to
  // count in the log after SIGTERM.
  if (!settings_.kafka.enabled()) CatchUp(kReadRest);
  if (runtime_ && !runtime_->Drain(kEngineStop.v))
    LogWarning("some counts are not committed: the next start counts the rest from the log");
  shell_.Release();
  running_ = nullptr;
  runtime_.reset();
  kafka_.reset();
  lake_.reset();
  raw_ = {};
  if (log_) log_->Close();
}

Health Up::ReportHealth() const {
  Health health;
  if (const Status log = log_->Health(); !log.ok()) health.Fail("log: " + log.message());
  health.FailIf(raw_.log->Report().health.message());
  ReportEngineHealth(EngineSnapshot(), std::chrono::steady_clock::now() - started_ > kStartTime,
                     health);
  health.FailIf(lake_ ? lake_->trouble() : "");
  health.FailIf(locations_->state().refused);
  return health;
}

Health Up::ReportReadiness() const {
  Health ready;
  ready.FailIf(log_->Health().message());
  ready.FailIf(raw_.log->Report().health.message());
  ReportEngineReadiness(EngineSnapshot(), ready);
  return ready;
}

void Up::CollectMetrics(std::vector<Metric>& metrics) const {
  CollectEngineMetrics(EngineSnapshot(), metrics);
  CollectLogMetrics(metrics);
  for (Metric& metric : raw_.log->Report().metrics) metrics.push_back(std::move(metric));
  if (lake_) {
    for (Metric& metric : lake_->metrics()) metrics.push_back(std::move(metric));
    for (Metric& metric : lake_->queries()->metrics()) metrics.push_back(std::move(metric));
  }
  if (kafka_) CollectKafkaMetrics(kafka_->stats(), metrics);
  CollectLiveMetrics(metrics);
  const LocationsRefresh::State table = locations_->state();
  metrics.push_back(Metric::Gauge("sightline_locations_version",
                                  "Versions of the location table accepted since the start.",
                                  table.version));
  metrics.push_back(Metric::Gauge("sightline_locations_rows",
                                  "Rows of the location table that is in use.", table.rows));
  metrics.push_back(Metric::Gauge("sightline_locations_refused",
                                  "1 while the newest version of the location table is refused.",
                                  table.refused.empty() ? 0 : 1));
}

void Up::CollectLiveMetrics(std::vector<Metric>& metrics) const {
  metrics.push_back(Metric::Gauge("sightline_live_bytes", "Bytes of memory that live panes take.",
                                  live_->memory_bytes()));
  metrics.push_back(Metric::Gauge("sightline_live_views",
                                  "Views that are computed, or kept so that a viewer can resume.",
                                  hub_->views()));
  metrics.push_back(
      Metric::Gauge("sightline_live_viewers", "Event streams that are open.", hub_->viewers()));
  metrics.push_back(Metric::Gauge("sightline_live_complete_until_ms",
                                  "Windows that end before this time (Unix ms) are complete.",
                                  live_->CompleteUntil().v));
  const Ledger ledger = live_->LedgerTotal(Scope::All());
  const auto event = [&](std::string_view outcome, int64_t n) {
    Metric& metric = metrics.emplace_back(Metric::Counter(
        "sightline_events_total", "Events by outcome since the data folder was made.", n));
    metric.labels = {{"outcome", std::string(outcome)}};
  };
  for (size_t i = 0; i < kOutcomes; ++i)
    event(ToString(static_cast<Outcome>(i)), ledger.outcomes[i]);
  event("heartbeat", ledger.heartbeats);
  metrics.push_back(Metric::Counter(
      "sightline_lost_offsets_total",
      "Offsets of the raw log that retention removed before they were counted.", ledger.lost));
}

void Up::CollectLogMetrics(std::vector<Metric>& metrics) const {
  const EmbeddedLogStats stats = log_->stats();
  const auto counter = [&](const char* name, const char* help, int64_t value) {
    metrics.push_back(Metric::Counter(name, help, value));
  };
  const auto gauge = [&](const char* name, const char* help, int64_t value) {
    metrics.push_back(Metric::Gauge(name, help, value));
  };
  counter("sightline_log_appended_bytes_total",
          "Bytes of records that became durable in the embedded log since the start.",
          stats.appended_bytes);
  counter("sightline_log_appended_records_total",
          "Records that became durable in the embedded log since the start.",
          stats.appended_records);
  counter("sightline_log_commits_total", "Transactions of the embedded log.", stats.commits);
  counter("sightline_log_commits_failed_total",
          "Transactions of the embedded log that failed, for example on a full disk.",
          stats.commits_failed);
  metrics.push_back(
      {.name = "sightline_log_commit_seconds_total",
       .help = "Seconds that the embedded log spent in COMMIT, writing and calling fsync.",
       .value = stats.commit_seconds});
  counter("sightline_log_appends_refused_total",
          "Appends that the embedded log refused because its queue was full.",
          stats.appends_refused);
  gauge("sightline_log_queue_bytes", "Bytes that are appended and not durable yet.",
        stats.queue_bytes);
  gauge("sightline_log_stored_bytes", "Bytes of all batches of the embedded log on disk.",
        stats.stored_bytes);
  counter("sightline_log_retention_batches_total",
          "Batches of the embedded log that retention has removed.", stats.retention_batches);
}

}  // namespace

Status RunUp(const Settings& settings, const std::function<void(const std::string& url)>& ready) {
  const Result<Settings> own = WithStoredRules(settings, DataFolder(settings.data).checkpoints());
  return own.ok() ? RunProcess<Up>(own.value(), ready) : own.status();
}

}  // namespace sightline
