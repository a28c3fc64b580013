#include "processes/up.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "base/log.h"
#include "camera/camera.h"
#include "config/data_folder.h"
#include "config/kafka_options.h"
#include "connectors/checkpoint_files/checkpoint_files.h"
#include "connectors/embedded_log/log.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"
#include "history/lake_service.h"
#include "history/pinned_runs.h"
#include "live/hub.h"
#include "live/live.h"
#include "monitor/activity.h"
#include "processes/demo.h"
#include "processes/kafka_raw_topics.h"
#include "processes/live_sink.h"
#include "processes/locations_refresh.h"
#include "processes/process.h"
#include "processes/raw_log.h"
#include "server/server.h"
#include "telemetry/engine_report.h"
#include "telemetry/monitor.h"
#include "telemetry/observed_sink.h"

namespace sightline {
namespace {

// SIGTERM to exit takes less than 5 s: this is the sum of the parts.
constexpr Millis kCameraStop{500};
constexpr Millis kServerStop{1'000};
constexpr Millis kReadRest{500};
constexpr Millis kEngineStop{2'500};
constexpr Millis kDay{86'400'000};
// A partition that still starts after it is told by /healthz.
constexpr std::chrono::seconds kStartTime{5};
// The door opens when what is durable is counted, or after this.
constexpr Millis kCatchUpTime{2'000};
constexpr std::chrono::milliseconds kCatchUpPoll{2};
constexpr Millis kTick{1'000};  // of the main loop, at most
constexpr Millis kRenewTime{10'000};

std::string DemoFolder(const Settings& options) {
  return (std::filesystem::path(options.data) / "demo").string();
}

std::string CheckpointFolder(const Settings& options) {
  return (std::filesystem::path(options.data) / "checkpoints").string();
}

class Up {
 public:
  explicit Up(const Settings& options) : options_(options) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return url_; }

 private:
  Status OpenLog();
  Status OpenKafka();
  Status OpenLake();
  void SetLocations(const std::vector<Location>& locations);
  Status LoadLive();
  Status LoadLive(const SourcePartition& partition);
  void StartEngine();
  std::vector<PartitionHealth> EngineSnapshot() const;
  Status WatchRawLog();
  void CatchUp(Millis at_most) const;
  void Wake(const SourcePartition& partition);
  Result<std::unique_ptr<PartitionTask>> BuildTask(const SourcePartition& partition);
  Status StartServer();
  Status OpenMonitor();
  void ExpectLocations();
  void Report(MonitorReport& report) const;
  Status StartDemo();
  void RunDemoCamera(CameraOptions camera);
  Health ReportHealth() const;
  Health ReportReadiness() const;
  std::vector<Metric> CollectMetrics() const;
  void CollectLogMetrics(std::vector<Metric>& metrics) const;

  const Settings options_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  SystemClock clock_;
  // In the order of the start; destroyed in reverse.
  mutable Activity activity_{static_cast<size_t>(options_.alerts.subjects_known),
                             options_.alerts.forget};
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<EmbeddedLog> log_;
  std::unique_ptr<RawLog> raw_;
  std::unique_ptr<Live> live_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<PinnedRuns> runs_;
  std::unique_ptr<LakeService> lake_;   // null: switched off
  std::unique_ptr<KafkaWriter> kafka_;  // null: nothing is published
  mutable std::mutex runtime_mutex_;
  std::unique_ptr<Runtime> runtime_;  // for other threads than the main one: under runtime_mutex_
  std::atomic<Runtime*> running_ = nullptr;  // runtime_, once it is made
  int64_t locations_looked_ms_ = SteadyMs();
  Pulse pulse_;
  mutable std::mutex sinks_mutex_;
  std::vector<SinkOptions> sinks_;  // of every task; under sinks_mutex_
  std::unique_ptr<Server> server_;
  std::string url_;
  bool address_written_ = false;  // else the file is of the process that owns the folder
  std::atomic<bool> stop_cameras_ = false;
  std::vector<std::thread> cameras_;
};

Status Up::Start() {
  RETURN_IF_ERROR(OpenLog());
  const Result<ListenAddress> listen = ParseListen(options_.listen);
  if (!listen.ok()) return listen.status();
  live_ = std::make_unique<Live>(
      LiveOptions{
          .pane_size = options_.pipeline.pane_size,
          .window_size = options_.pipeline.window_size,
          .pane_retention = options_.live.pane_retention,
          .idle_timeout = options_.pipeline.idle_timeout,
          .out_of_orderness = options_.pipeline.out_of_orderness,
          .log_end = [this](const SourcePartition& partition) { return raw_->EndOf(partition); }},
      &clock_);
  RETURN_IF_ERROR(OpenMonitor());
  hub_ =
      std::make_unique<Hub>(live_.get(), &clock_,
                            HubOptions{.min_interval = options_.live.push_interval,
                                       .alerts_version = [this] { return monitor_->version(); }});
  std::string table = options_.locations;
  if (table.empty() && options_.demo) {
    const Result<std::string> written = WriteDemoLocations(DemoFolder(options_));
    if (!written.ok()) return written.status();
    table = written.value();
  }
  locations_ = std::make_unique<LocationsRefresh>(
      table, (std::filesystem::path(options_.data) / "locations.last_good").string());
  RETURN_IF_ERROR(locations_->Load());
  if (options_.lake.enabled) RETURN_IF_ERROR(OpenLake());
  if (!table.empty()) SetLocations(locations_->locations());
  locations_->OnChange([this](const std::vector<Location>& known) { SetLocations(known); });
  RETURN_IF_ERROR(LoadLive());
  StartEngine();
  CatchUp(kCatchUpTime);
  RETURN_IF_ERROR(StartServer());
  RETURN_IF_ERROR(WriteAddressFile(options_.data, {url_, hub_->boot()}));
  address_written_ = true;
  ExpectLocations();
  monitor_->Start(InstanceOf(options_.alerts, url_), hub_->boot());
  return options_.demo ? StartDemo() : Status::Ok();
}

Status Up::OpenLake() {
  const std::string dir =
      options_.lake.dir.empty() ? DefaultLakeDir(options_.data) : options_.lake.dir;
  Result<std::unique_ptr<PinnedRuns>> runs = PinnedRuns::Open(
      CheckpointFolder(options_), (std::filesystem::path(options_.data) / "pending").string());
  if (!runs.ok()) return runs.status();
  runs_ = std::move(runs).value();
  Result<std::unique_ptr<LakeService>> lake = LakeService::Open(
      {.dir = dir,
       .window_size = options_.pipeline.window_size,
       .max_partitions = options_.lake.max_partitions,
       .retention_days = options_.lake.retention_days,
       .vacuum_retention = options_.lake.vacuum_retention,
       .maintenance_interval = options_.lake.maintenance_interval,
       .location_name = [this](LocationId location) { return locations_->NameOf(location); },
       .runs = runs_.get(),
       .query = {.memory_bytes_max = options_.query.memory_max,
                 .threads = static_cast<int32_t>(options_.query.threads),
                 .queries_max = static_cast<int32_t>(options_.query.running_max)}},
      clock_, locations_->locations());
  if (!lake.ok()) return lake.status();
  lake_ = std::move(lake).value();
  return Status::Ok();
}

void Up::SetLocations(const std::vector<Location>& locations) {
  std::vector<LocationInfo> infos;
  infos.reserve(locations.size());
  for (const Location& location : locations)
    infos.push_back({location.location, location.name, location.time_zone});
  live_->SetLocations(std::move(infos));
  if (lake_) lake_->SetLocations(locations);
}

Status Up::OpenLog() {
  std::error_code error;
  std::filesystem::create_directories(options_.data, error);
  if (error)
    return Status::Stop(
        fmt::format("cannot make the data folder '{}': {}", options_.data, error.message()));
  Result<std::unique_ptr<EmbeddedLog>> log =
      EmbeddedLog::Open({.dir = options_.data,
                         .partitions = static_cast<int32_t>(options_.partitions),
                         .clock = &clock_,
                         .retention_age = options_.log.retention,
                         .retention_bytes = options_.log.size_max,
                         .queue_bytes_max = options_.log.queue_max});
  if (!log.ok()) return log.status();
  log_ = std::move(log).value();
  if (!options_.kafka.client.brokers.empty()) return OpenKafka();
  raw_ = OpenEmbeddedRawLog(log_.get());
  return Status::Ok();
}

Status Up::OpenKafka() {
  Result<std::unique_ptr<KafkaRawTopics>> opened = KafkaRawTopics::Open(options_.kafka, StopAsked);
  if (!opened.ok()) return opened.status();
  const std::shared_ptr<KafkaRawTopics> topics = std::move(opened).value();
  Result<std::unique_ptr<RawLog>> raw =
      OpenKafkaRawLog(options_.kafka, topics, options_.log.queue_max);
  if (!raw.ok()) return raw.status();
  raw_ = std::move(raw).value();
  if (!options_.kafka.publish) return Status::Ok();
  Result<KafkaOptions> kafka = MakeKafkaOptions(options_.kafka);
  if (!kafka.ok()) return kafka.status();
  auto partition_of = CountsPartitions(*topics, options_.kafka, StopAsked);
  if (!partition_of.ok()) return partition_of.status();
  kafka_ = std::make_unique<KafkaWriter>(KafkaWriterOptions{
      .kafka = std::move(kafka).value(),
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
  return Status::Ok();
}

// What the durable counts say, also of sources that are not read any more; the tasks add what lies
// behind their committed offsets.
Status Up::LoadLive() {
  const auto start = std::chrono::steady_clock::now();
  Result<std::vector<SourcePartition>> counted = log_->CountedPartitions();
  if (!counted.ok()) return counted.status();
  std::set<SourcePartition> all(counted.value().begin(), counted.value().end());
  for (const SourcePartition& partition : raw_->Partitions()) all.insert(partition);
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
  // The task of a source that is not read any more brings nothing that a query could wait for.
  if (lake_ && progress.value() && std::ranges::count(raw_->Partitions(), partition) > 0)
    lake_->view().Expect(partition, known.next);
  return log_->ForEachGroup(partition, not_before, [&](Segment&& group) {
    live_->Load(partition, {&group, 1}, known.next, known.ledger);
  });
}

void Up::StartEngine() {
  raw_->Watch([this](const SourcePartition& partition) { Wake(partition); });
  const auto cores = static_cast<int32_t>(std::thread::hardware_concurrency());
  const auto threads = static_cast<int32_t>(options_.engine.threads);
  auto runtime = std::make_unique<Runtime>(
      raw_->Partitions(), [this](const SourcePartition& partition) { return BuildTask(partition); },
      RuntimeOptions{.threads = threads > 0 ? threads : std::max(1, cores)});
  running_ = runtime.get();
  const std::lock_guard lock(runtime_mutex_);
  runtime_ = std::move(runtime);
}

std::vector<PartitionHealth> Up::EngineSnapshot() const {
  const std::lock_guard lock(runtime_mutex_);
  return runtime_ == nullptr ? std::vector<PartitionHealth>() : runtime_->Snapshot();
}

// Live had shown what was durable before its counts were committed. A viewer who comes back must
// not see less of it, so nobody is let in before it is counted again - unless that takes long: then
// detections must be let in.
void Up::CatchUp(Millis at_most) const {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(at_most.v);
  const auto behind = [this](const PartitionHealth& partition) {
    const Offset next = raw_->EndOf(partition.partition).next;
    return partition.health != TaskHealth::kStopped && next.v > 0 &&
           live_->Committed(partition.partition) < next;
  };
  while (std::chrono::steady_clock::now() < until && std::ranges::any_of(EngineSnapshot(), behind))
    std::this_thread::sleep_for(kCatchUpPoll);
}

// Also called while the runtime is being made: its threads start before its pointer is here.
void Up::Wake(const SourcePartition& partition) {
  if (Runtime* const runtime = running_) runtime->Wake(partition);
}

Result<std::unique_ptr<PartitionTask>> Up::BuildTask(const SourcePartition& partition) {
  TaskOptions task;
  TaskPorts ports;
  const auto wake = [this, partition] { Wake(partition); };
  auto add = [&](SinkOptions options, std::unique_ptr<Sink> sink) {
    task.sinks.push_back(std::move(options));
    ports.sinks.push_back(std::move(sink));
  };
  // Queries first: what is on the screen can be asked for.
  if (lake_) add({.name = "pending"}, lake_->OpenPendingSink());
  add({.name = "live"},
      std::make_unique<ObservedSink>(std::make_unique<LiveSink>(live_.get()),
                                     [this](const SourcePartition& from, const Segment& segment) {
                                       activity_.Count(from, segment, SteadyMs());
                                     }));
  add({.name = "counts", .commit_interval_ms = options_.engine.commit_interval.v},
      log_->OpenCountsSink({.on_answer = wake}));
  if (lake_) {
    const int64_t roll_ms = options_.lake.roll_interval.v;
    add({.name = "lake counts", .commit_interval_ms = roll_ms, .together = true},
        lake_->OpenCountsSink(wake));
    add({.name = "lake ledger", .commit_interval_ms = roll_ms, .together = true},
        lake_->OpenLedgerSink(wake));
  }
  if (kafka_) add(KafkaSinkOptions(options_.kafka), kafka_->OpenSink(wake));
  {
    const std::lock_guard lock(sinks_mutex_);
    sinks_ = task.sinks;
  }
  task.hash_seed = std::random_device()() | uint64_t{std::random_device()()} << 32;
  task.on_gap = options_.engine.on_gap;
  task.checkpoint_interval_ms = options_.engine.checkpoint_interval.v;
  ports.source = raw_->OpenSource(partition);
  if (ports.source == nullptr) return Status::Retry("its topic is gone");
  const auto partitions = static_cast<int64_t>(std::max<size_t>(1, raw_->Partitions().size()));
  task.sealed_bytes_max = options_.engine.pending_max / partitions;
  task.spill_bytes_max = options_.engine.spill_max / partitions;
  ports.store = std::make_unique<CheckpointFiles>(CheckpointFolder(options_));
  return std::make_unique<PartitionTask>(partition, options_.pipeline, std::move(task),
                                         std::move(ports));
}

Status Up::StartServer() {
  Result<std::unique_ptr<Server>> server = sightline::StartServer(
      options_, {.log = &raw_->detections(),
                 .live = live_.get(),
                 .hub = hub_.get(),
                 .query = lake_ ? &lake_->query() : nullptr,
                 .clock = &clock_,
                 .metrics = [this] { return CollectMetrics(); },
                 .health = [this] { return ReportHealth(); },
                 .alive = [this] { return pulse_.ReportHealth(); },
                 .ready = [this] { return ReportReadiness(); },
                 .alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); }});
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  url_ = UrlOf(options_, *server_);
  return Status::Ok();
}

Status Up::OpenMonitor() {
  Result<std::unique_ptr<Monitor>> monitor =
      Monitor::Open(options_, "up", clock_, [this](MonitorReport& report) { Report(report); });
  if (!monitor.ok()) return monitor.status();
  monitor_ = std::move(monitor).value();
  return Status::Ok();
}

// Those of which there are counts: their silence from the start on is one, too.
void Up::ExpectLocations() {
  for (const LocationTotal& location :
       live_->Locations(Scope::All(), WindowChoice::Parse("24h").value()))
    if (location.total > 0) activity_.Expect(location.location, SteadyMs());
}

void Up::Report(MonitorReport& report) const {
  MonitorSample& sample = report.sample;
  activity_.Fill(sample.now_ms, sample);
  std::vector<SinkOptions> sinks;
  {
    const std::lock_guard lock(sinks_mutex_);
    sinks = sinks_;
  }
  SampleEngine(
      EngineSnapshot(), sinks,
      [this](const SourcePartition& partition) { return raw_->EndOf(partition).next; }, report);
  SampleSystem(options_.data, report);
  report.ledger = live_->LedgerTotal(Scope::All());
  int64_t spilled = 0;
  for (const auto& [name, value] : report.numbers)
    if (name == "spilled_bytes") spilled = value;
  sample.limits.push_back({"spill", spilled, options_.engine.spill_max});
  sample.clock_unguarded = raw_->ClockUnguarded();
  sample.troubles = {{"log", log_->Health().message()},
                     {"raw log", raw_->Health().message()},
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
  const std::string folder = DemoFolder(options_);
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
    camera->sender.url = url_;
    camera->stop_time = kCameraStop;
    cameras_.emplace_back([this, c = *camera] { RunDemoCamera(c); });
  }
  return Status::Ok();
}

void Up::RunDemoCamera(CameraOptions camera) {
  const Status status = RunCamera(camera, stop_cameras_, [](std::string_view) {});
  if (!status.ok()) LogError("a demo camera ended: " + status.message());
}

Status Up::WaitForSignal() {
  const Millis tick = std::min(kTick, options_.locations_refresh);
  return WaitForStop(tick, [this] {
    pulse_.Beat();
    if (SteadyMs() - locations_looked_ms_ >= options_.locations_refresh.v) {
      locations_->Refresh();
      locations_looked_ms_ = SteadyMs();
    }
    return WatchRawLog();
  });
}

// Topics that are new are new sources, counted from their start. The counts of those that are gone
// stay.
Status Up::WatchRawLog() {
  const RawLog::Change change = raw_->Look();
  // What the old ones had read reaches every sink: nobody will do it later.
  if (!change.gone.empty() && !runtime_->Remove(change.gone, kRenewTime.v))
    LogError("not everything that was read of the old topic is committed to every sink");
  for (const SourcePartition& partition : change.found) {
    RETURN_IF_ERROR(LoadLive(partition));
    runtime_->Add(partition);
  }
  return Status::Ok();
}

void Up::Stop() {
  LogInfo("stopping");
  if (address_written_) RemoveAddressFile(options_.data);
  stop_cameras_ = true;
  for (std::thread& camera : cameras_) camera.join();
  cameras_.clear();
  if (server_) server_->Stop(kServerStop);
  if (monitor_) monitor_->Stop();
  // What the door has taken is counted by who took it, if it is not much: after SIGTERM nothing is
  // left in the log (`handover` asks for that).
  if (options_.kafka.client.brokers.empty()) CatchUp(kReadRest);
  if (runtime_ && !runtime_->Drain(kEngineStop.v))
    LogWarning("not everything is committed: the next start counts the rest from the log");
  server_.reset();
  if (raw_) raw_->Unwatch();
  runtime_.reset();
  kafka_.reset();
  lake_.reset();
  raw_.reset();
  if (log_) log_->Close();
  LogInfo("stopped");
}

Health Up::ReportHealth() const {
  Health health;
  auto broken = [&](std::string reason) {
    health.ok = false;
    health.reasons.push_back(std::move(reason));
  };
  if (const Status log = log_->Health(); !log.ok()) broken("log: " + log.message());
  if (const Status raw = raw_->Health(); !raw.ok()) broken(raw.message());
  ReportEngineHealth(EngineSnapshot(), std::chrono::steady_clock::now() - started_ > kStartTime,
                     health);
  if (const std::string trouble = lake_ ? lake_->trouble() : ""; !trouble.empty()) broken(trouble);
  if (const std::string refused = locations_->state().refused; !refused.empty()) broken(refused);
  return health;
}

Health Up::ReportReadiness() const {
  Health ready;
  for (const Status& status : {log_->Health(), raw_->Health()}) {
    if (status.ok()) continue;
    ready.ok = false;
    ready.reasons.push_back(status.message());
  }
  ReportEngineReadiness(EngineSnapshot(), ready);
  return ready;
}

std::vector<Metric> Up::CollectMetrics() const {
  std::vector<Metric> metrics;
  monitor_->CollectMetrics(metrics);
  CollectEngineMetrics(EngineSnapshot(), metrics);
  CollectLogMetrics(metrics);
  raw_->CollectMetrics(metrics);
  if (kafka_) CollectKafkaMetrics(kafka_->stats(), metrics);
  auto gauge = [&](const char* name, const char* help, int64_t value) {
    metrics.push_back({.name = name,
                       .help = help,
                       .type = Metric::Type::kGauge,
                       .value = static_cast<double>(value)});
  };
  gauge("sightline_live_bytes", "memory of live's panes", live_->memory_bytes());
  gauge("sightline_live_views", "views that are computed or kept for resuming", hub_->views());
  gauge("sightline_live_viewers", "open streams", hub_->viewers());
  gauge("sightline_live_complete_until_ms", "windows that end before it are complete",
        live_->CompleteUntil().v);
  const LocationsRefresh::State table = locations_->state();
  gauge("sightline_locations_version", "of the location table: accepted ones since the start",
        table.version);
  gauge("sightline_locations_rows", "of the location table as it is used", table.rows);
  gauge("sightline_locations_refused", "1: the file as it is now is not used",
        table.refused.empty() ? 0 : 1);
  const Ledger ledger = live_->LedgerTotal(Scope::All());
  auto event = [&](std::string_view outcome, int64_t n) {
    metrics.push_back({.name = "sightline_events_total",
                       .help = "events by outcome, since the data folder was made",
                       .labels = {{"outcome", std::string(outcome)}},
                       .value = static_cast<double>(n)});
  };
  for (size_t i = 0; i < kOutcomes; ++i)
    event(ToString(static_cast<Outcome>(i)), ledger.outcomes[i]);
  event("heartbeat", ledger.heartbeats);
  metrics.push_back({.name = "sightline_lost_offsets_total",
                     .help = "of the raw log, removed by retention before they were counted",
                     .value = static_cast<double>(ledger.lost)});
  return metrics;
}

void Up::CollectLogMetrics(std::vector<Metric>& metrics) const {
  const EmbeddedLogStats stats = log_->stats();
  auto add = [&](const char* name, const char* help, Metric::Type type, double value) {
    metrics.push_back({.name = name, .help = help, .type = type, .value = value});
  };
  using enum Metric::Type;
  add("sightline_log_appended_bytes_total", "durable since the start", kCounter,
      static_cast<double>(stats.appended_bytes));
  add("sightline_log_appended_records_total", "likewise", kCounter,
      static_cast<double>(stats.appended_records));
  add("sightline_log_commits_total", "transactions", kCounter, static_cast<double>(stats.commits));
  add("sightline_log_commits_failed_total", "for example because the disk was full", kCounter,
      static_cast<double>(stats.commits_failed));
  add("sightline_log_commit_seconds_total", "in COMMIT: writing and fsync", kCounter,
      stats.commit_seconds);
  add("sightline_log_appends_refused_total", "because the queue was full", kCounter,
      static_cast<double>(stats.appends_refused));
  add("sightline_log_queue_bytes", "appended and not yet durable", kGauge,
      static_cast<double>(stats.queue_bytes));
  add("sightline_log_stored_bytes", "of all batches on disk", kGauge,
      static_cast<double>(stats.stored_bytes));
  add("sightline_log_retention_batches_total", "removed by retention", kCounter,
      static_cast<double>(stats.retention_batches));
}

}  // namespace

Status RunUp(const Settings& options, const std::function<void(const std::string& url)>& ready) {
  return RunProcess<Up>(options, ready);
}

}  // namespace sightline
