#include "processes/serve.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/kafka_options.h"
#include "config/kafka_wait.h"
#include "connectors/kafka/counts_feed.h"
#include "connectors/kafka/kafka_detections.h"
#include "connectors/kafka/topic_watch.h"
#include "history/lake_reader.h"
#include "live/hub.h"
#include "live/live.h"
#include "monitor/activity.h"
#include "processes/kafka_raw_topics.h"
#include "processes/locations_refresh.h"
#include "processes/process.h"
#include "server/server.h"
#include "telemetry/monitor.h"

namespace sightline {
namespace {

constexpr Millis kServerStop{1'000};
// The door opens when what was there at the start is on the screen, or after this: detections are
// taken then, and what is asked is told to wait.
constexpr std::chrono::seconds kCatchUpTime{2};
constexpr std::chrono::milliseconds kCatchUpPoll{5};
// How often the lake and the location table are looked at: what they cost is their changes.
constexpr Millis kWatch{1'000};

class Serve {
 public:
  explicit Serve(const Settings& options) : options_(options) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return url_; }

 private:
  Status OpenTopics();
  Status OpenLocations();
  Status OpenLake();
  Status OpenFeed();
  void CatchUp() const;
  void Expect(const std::vector<KafkaRawTopicPtr>& topics);
  void LookForTopics();
  void RefreshLake();
  Status StartServer();
  Status OpenMonitor();
  void Report(MonitorReport& report) const;
  void SetLocations(const std::vector<Location>& locations);
  void Apply(const SourcePartition& partition, const Segment& segment);
  std::string BrokersTrouble() const;
  std::string LiveNotReady() const;
  std::string StillRead(const KafkaCountsFeedStats& stats) const;
  Health ReportHealth() const;
  Health ReportReadiness() const;
  std::vector<Metric> CollectMetrics() const;

  const Settings options_;
  SystemClock clock_;
  KafkaOptions kafka_;
  std::unique_ptr<KafkaRawTopics> raw_;
  KafkaTopic counts_;
  std::unique_ptr<TopicWatch> watch_;
  // In the order of the start; destroyed in reverse.
  Pulse pulse_;
  mutable Activity activity_{static_cast<size_t>(options_.alerts.subjects_known),
                             options_.alerts.forget};
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<Live> live_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<LakeReader> lake_;  // null: no lake.dir was given
  std::unique_ptr<KafkaDetections> detections_;
  std::unique_ptr<KafkaCountsFeed> feed_;
  std::atomic<KafkaCountsFeed*> following_ = nullptr;  // feed_, once it is made
  std::unique_ptr<Server> server_;
  std::string url_;
  mutable bool live_is_now_ = false;  // as the newest report had it; of its thread
  mutable std::mutex lake_mutex_;
  std::string lake_trouble_;  // under lake_mutex_
};

Status Serve::Start() {
  if (options_.kafka.client.brokers.empty())
    return Status::Stop("serve reads counts from Kafka: say --kafka host:port");
  RETURN_IF_ERROR(OpenTopics());
  live_ =
      std::make_unique<Live>(LiveOptions{.pane_size = options_.pipeline.pane_size,
                                         .window_size = options_.pipeline.window_size,
                                         .pane_retention = options_.live.pane_retention,
                                         .idle_timeout = options_.pipeline.idle_timeout,
                                         .out_of_orderness = options_.pipeline.out_of_orderness,
                                         .log_end =
                                             [this](const SourcePartition& partition) {
                                               // Of a topic that is gone no more will come.
                                               if (!raw_->FindSource(partition.source))
                                                 return LogEnd{};
                                               const KafkaCountsFeed* const feed = following_;
                                               // Not known yet: more may come.
                                               if (feed == nullptr)
                                                 return LogEnd{Offset{INT64_MAX}, AppendTime{0}};
                                               const KafkaEnd end = feed->EndOf(partition);
                                               return LogEnd{end.next, end.newest};
                                             }},
                             &clock_);
  RETURN_IF_ERROR(OpenMonitor());
  hub_ =
      std::make_unique<Hub>(live_.get(), &clock_,
                            HubOptions{.min_interval = options_.live.push_interval,
                                       .alerts_version = [this] { return monitor_->version(); }});
  RETURN_IF_ERROR(OpenLocations());
  RETURN_IF_ERROR(OpenLake());
  RETURN_IF_ERROR(OpenFeed());
  CatchUp();
  RETURN_IF_ERROR(StartServer());
  monitor_->Start(InstanceOf(options_.alerts, url_), hub_->boot());
  return Status::Ok();
}

Status Serve::OpenTopics() {
  Result<KafkaOptions> kafka = MakeKafkaOptions(options_.kafka);
  if (!kafka.ok()) return kafka.status();
  kafka_ = std::move(kafka).value();
  Result<std::unique_ptr<KafkaRawTopics>> raw = KafkaRawTopics::Open(options_.kafka, StopAsked);
  if (!raw.ok()) return raw.status();
  raw_ = std::move(raw).value();
  Result<KafkaTopic> counts =
      WaitForTopic(raw_->admin(), options_.kafka, options_.kafka.counts_topic, StopAsked);
  if (!counts.ok()) return counts.status();
  counts_ = std::move(counts).value();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka_, kKafkaAskTime);
  if (!admin.ok()) return admin.status();
  watch_ = std::make_unique<TopicWatch>(std::move(admin).value(), std::vector<KafkaTopic>{counts_});
  Result<std::unique_ptr<KafkaProducer>> producer =
      KafkaProducer::Open({.kafka = kafka_, .bytes_max = options_.log.queue_max});
  if (!producer.ok()) return producer.status();
  detections_ = std::make_unique<KafkaDetections>(std::move(producer).value(), raw_->name(),
                                                  TopicsToPost(*raw_));
  return Status::Ok();
}

Status Serve::OpenLocations() {
  std::string copy;
  if (!options_.locations.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options_.data, error);
    if (error)
      return Status::Stop(
          fmt::format("cannot make the data folder '{}': {}", options_.data, error.message()));
    copy = (std::filesystem::path(options_.data) / "serve_locations.last_good").string();
  }
  locations_ = std::make_unique<LocationsRefresh>(options_.locations, copy);
  RETURN_IF_ERROR(locations_->Load());
  SetLocations(locations_->locations());
  locations_->OnChange([this](const std::vector<Location>& known) { SetLocations(known); });
  return Status::Ok();
}

void Serve::SetLocations(const std::vector<Location>& locations) {
  std::vector<LocationInfo> infos;
  infos.reserve(locations.size());
  for (const Location& location : locations)
    infos.push_back({location.location, location.name, location.time_zone});
  live_->SetLocations(std::move(infos));
}

Status Serve::OpenLake() {
  if (options_.lake.dir.empty()) return Status::Ok();
  Result<std::unique_ptr<LakeReader>> lake = LakeReader::OpenEarly(
      options_.lake.dir, {.memory_bytes_max = options_.query.memory_max,
                          .threads = static_cast<int32_t>(options_.query.threads),
                          .queries_max = static_cast<int32_t>(options_.query.running_max)});
  if (!lake.ok()) return lake.status();
  lake_ = std::move(lake).value();
  if (!lake_->complete()) RefreshLake();
  return Status::Ok();
}

Status Serve::OpenFeed() {
  Expect(raw_->topics());
  Result<std::unique_ptr<KafkaCountsFeed>> feed = KafkaCountsFeed::Open(
      {.kafka = kafka_,
       .counts = counts_,
       .raw_topics =
           [this] {
             std::vector<KafkaTopic> topics;
             for (const KafkaRawTopicPtr& topic : raw_->topics()) topics.push_back(topic->topic);
             return topics;
           },
       .on_segment = [this](const SourcePartition& partition,
                            Segment&& segment) { Apply(partition, segment); }});
  if (!feed.ok()) return feed.status();
  feed_ = std::move(feed).value();
  following_ = feed_.get();
  return Status::Ok();
}

// Their windows are complete when these are counted, too.
void Serve::Expect(const std::vector<KafkaRawTopicPtr>& topics) {
  for (const KafkaRawTopicPtr& topic : topics)
    for (int32_t p = 0; p < topic->topic.partitions; ++p) live_->Expect({topic->source, p});
}

void Serve::LookForTopics() {
  const KafkaRawTopics::Change change = raw_->Look();
  if (change.gone.empty() && change.found.empty()) return;
  Expect(change.found);
  detections_->SetTopics(TopicsToPost(*raw_));
}

void Serve::Apply(const SourcePartition& partition, const Segment& segment) {
  activity_.Count(partition, segment, SteadyMs());
  if (!live_->Apply(partition, {&segment, 1}))
    LogError(
        fmt::format("partition {} of '{}': counts of the offsets [{}, {}) do not follow those "
                    "before; start again",
                    partition.partition, partition.source, segment.first.v, segment.next.v));
}

void Serve::CatchUp() const {
  const auto until = std::chrono::steady_clock::now() + kCatchUpTime;
  while (!feed_->stats().caught_up && std::chrono::steady_clock::now() < until && !StopAsked())
    std::this_thread::sleep_for(kCatchUpPoll);
}

Status Serve::StartServer() {
  Result<std::unique_ptr<Server>> server = sightline::StartServer(
      options_, {.log = detections_.get(),
                 .live = live_.get(),
                 .hub = hub_.get(),
                 .query = lake_ ? &lake_->query() : nullptr,
                 .clock = &clock_,
                 .metrics = [this] { return CollectMetrics(); },
                 .health = [this] { return ReportHealth(); },
                 .alive = [this] { return pulse_.ReportHealth(); },
                 .ready = [this] { return ReportReadiness(); },
                 .live_not_ready = [this] { return LiveNotReady(); },
                 .alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); }});
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  url_ = UrlOf(options_, *server_);
  return Status::Ok();
}

Status Serve::OpenMonitor() {
  Result<std::unique_ptr<Monitor>> monitor =
      Monitor::Open(options_, "serve", clock_, [this](MonitorReport& report) { Report(report); });
  if (!monitor.ok()) return monitor.status();
  monitor_ = std::move(monitor).value();
  return Status::Ok();
}

// Of what it reads: cameras, partitions and sinks are those of `count`.
void Serve::Report(MonitorReport& report) const {
  MonitorSample& sample = report.sample;
  const KafkaCountsFeedStats stats = feed_->stats();
  if (!live_is_now_) activity_.ForgetSplits();
  live_is_now_ = stats.caught_up;
  activity_.Fill(sample.now_ms, sample);
  // Those who count know their cameras: an alert of one is told once.
  sample.cameras.clear();
  report.ledger = live_->LedgerTotal(Scope::All());
  sample.ledger.reset();
  // Before that, the past goes by.
  if (stats.caught_up) sample.ledger = report.ledger;
  SampleSystem(options_.data, report);
  report.numbers.emplace_back("records", stats.records);
  report.numbers.emplace_back("viewers", hub_->viewers());
  report.numbers.emplace_back("complete_until", live_->CompleteUntil().v);
  sample.troubles = {{"feed", stats.trouble}, {"brokers", BrokersTrouble()}};
}

void Serve::RefreshLake() {
  if (!lake_) return;
  const Status refreshed = lake_->Refresh();
  const std::lock_guard lock(lake_mutex_);
  if (!refreshed.ok() && lake_trouble_ != refreshed.message()) LogWarning(refreshed.message());
  lake_trouble_ = refreshed.message();
}

Status Serve::WaitForSignal() {
  return WaitForStop(kWatch, [this] {
    pulse_.Beat();
    locations_->Refresh();
    LookForTopics();
    RefreshLake();
    return watch_->Look();
  });
}

void Serve::Stop() {
  LogInfo("stopping");
  if (server_) server_->Stop(kServerStop);
  if (monitor_) monitor_->Stop();
  feed_.reset();
  server_.reset();
  LogInfo("stopped");
}

std::string Serve::BrokersTrouble() const {
  std::string trouble = watch_->trouble();
  return trouble.empty() ? raw_->trouble() : trouble;
}

std::string Serve::StillRead(const KafkaCountsFeedStats& stats) const {
  return fmt::format("topic '{}' is still being read from its beginning: {} records so far",
                     counts_.name, stats.records);
}

// Counts that climb through the past would be taken for those of now.
std::string Serve::LiveNotReady() const {
  const KafkaCountsFeedStats stats = feed_->stats();
  return stats.reading ? StillRead(stats) : "";
}

Health Serve::ReportHealth() const {
  Health health;
  const KafkaCountsFeedStats stats = feed_->stats();
  const auto broken = [&health](std::string reason) {
    health.ok = false;
    health.reasons.push_back(std::move(reason));
  };
  if (!stats.trouble.empty()) broken(stats.trouble);
  if (const std::string trouble = BrokersTrouble(); !trouble.empty()) broken(trouble);
  if (!stats.caught_up) broken(StillRead(stats));
  if (stats.refused > 0)
    health.reasons.push_back(fmt::format("{} records of topic '{}' are none of Sightline's",
                                         stats.refused, counts_.name));
  if (const std::string refused = locations_->state().refused; !refused.empty()) broken(refused);
  const std::lock_guard lock(lake_mutex_);
  if (!lake_trouble_.empty()) broken(lake_trouble_);
  return health;
}

Health Serve::ReportReadiness() const {
  Health ready;
  const KafkaCountsFeedStats stats = feed_->stats();
  const auto broken = [&ready](std::string reason) {
    ready.ok = false;
    ready.reasons.push_back(std::move(reason));
  };
  if (!stats.trouble.empty()) broken(stats.trouble);
  if (const std::string trouble = BrokersTrouble(); !trouble.empty()) broken(trouble);
  if (!stats.caught_up) broken(StillRead(stats));
  return ready;
}

std::vector<Metric> Serve::CollectMetrics() const {
  std::vector<Metric> metrics;
  monitor_->CollectMetrics(metrics);
  const auto add = [&metrics](const char* name, const char* help, Metric::Type type,
                              int64_t value) {
    metrics.push_back(
        {.name = name, .help = help, .type = type, .value = static_cast<double>(value)});
  };
  using enum Metric::Type;
  const KafkaCountsFeedStats stats = feed_->stats();
  add("sightline_feed_records_total", "read from the topic of the counts", kCounter, stats.records);
  add("sightline_feed_segments_total", "commits of the counting processes", kCounter,
      stats.segments);
  add("sightline_feed_refused_total", "records that are none of ours", kCounter, stats.refused);
  add("sightline_live_bytes", "memory of live's panes", kGauge, live_->memory_bytes());
  add("sightline_live_viewers", "open streams", kGauge, hub_->viewers());
  add("sightline_live_complete_until_ms", "windows that end before it are complete", kGauge,
      live_->CompleteUntil().v);
  add("sightline_kafka_producer_bytes", "posted and not yet acknowledged by the brokers", kGauge,
      detections_->bytes());
  return metrics;
}

}  // namespace

Status RunServe(const Settings& options, const std::function<void(const std::string& url)>& ready) {
  return RunProcess<Serve>(options, ready);
}

}  // namespace sightline
