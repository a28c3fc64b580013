#include "processes/serve.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "config/data_folder.h"
#include "config/kafka_wait.h"
#include "connectors/kafka/counts_feed.h"
#include "connectors/kafka/kafka_detections.h"
#include "connectors/kafka/topic_watch.h"
#include "connectors/locations/locations_refresh.h"
#include "history/lake_reader.h"
#include "live/hub.h"
#include "live/live.h"
#include "monitor/activity.h"
#include "processes/component_options.h"
#include "processes/kafka_raw_topics.h"
#include "processes/process.h"
#include "processes/service_shell.h"

namespace sightline {
namespace {

constexpr Millis kServerStop{1'000};
// The server starts when everything that the topic had at the start is on the screen, or after this
// time. It then takes detections, and answers questions with 503 until everything is read.
constexpr std::chrono::seconds kCatchUpTime{2};
constexpr std::chrono::milliseconds kCatchUpPoll{5};
// How often the lake and the location table are checked. Only their changes cost anything.
constexpr Millis kWatch{1'000};

class Serve {
 public:
  explicit Serve(const Settings& settings) : settings_(settings) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return shell_.url(); }

 private:
  Status OpenTopics();
  Status OpenLocations();
  Status OpenLake();
  Status OpenFeed();
  void CatchUp() const;
  void Expect(const std::vector<KafkaRawTopicPtr>& topics);
  void LookForTopics();
  void Sample(MonitorReport& report) const;
  void SetLocations(const std::vector<Location>& locations);
  void Apply(const SourcePartition& partition, const Segment& segment);
  LogEnd LogEndOfTopic(const SourcePartition& partition) const;
  std::string BrokersTrouble() const;
  std::string LiveNotReady() const;
  std::string StillRead(const KafkaCountsFeedStats& stats) const;
  Health ReportHealth() const;
  Health ReportReadiness() const;
  void CollectMetrics(std::vector<Metric>& metrics) const;

  const Settings settings_;
  const DataFolder folder_{settings_.data};
  const SystemClock machine_clock_;
  LogClock clock_{machine_clock_};
  std::unique_ptr<KafkaRawTopics> raw_;
  KafkaTopic counts_;
  std::unique_ptr<TopicWatch> watch_;
  // In the order of the start; destroyed in reverse.
  mutable Activity activity_{static_cast<size_t>(settings_.alerts.subjects_known),
                             settings_.alerts.forget};
  std::unique_ptr<Live> live_;
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<LakeReader> lake_;  // null: no lake.dir was given
  std::unique_ptr<KafkaDetections> detections_;
  std::unique_ptr<KafkaCountsFeed> feed_;
  std::atomic<KafkaCountsFeed*> following_ = nullptr;  // feed_, once it is made
  ServiceShell shell_{settings_,
                      "serve",
                      clock_,
                      {.sample = [this](MonitorReport& report) { Sample(report); },
                       .metrics = [this](std::vector<Metric>& all) { CollectMetrics(all); },
                       .health = [this] { return ReportHealth(); },
                       .ready = [this] { return ReportReadiness(); }}};
  mutable bool live_is_now_ = false;  // in the newest report; used by the monitor's thread
  std::mutex refused_mutex_;
  Status refused_ = Status::Ok();  // of counts that live has refused; under refused_mutex_
};

Status Serve::Start() {
  if (!settings_.kafka.enabled())
    return Status::Stop("serve reads counts from Kafka: give --kafka host:port");
  RETURN_IF_ERROR(OpenTopics());
  live_ = std::make_unique<Live>(
      LiveOptionsOf(settings_,
                    [this](const SourcePartition& partition) { return LogEndOfTopic(partition); }),
      &clock_);
  RETURN_IF_ERROR(shell_.Open());
  hub_ = std::make_unique<Hub>(
      live_.get(), &clock_,
      HubOptions{.min_interval = settings_.live.push_interval,
                 .alerts_version = [this] { return shell_.alerts_version(); }});
  RETURN_IF_ERROR(OpenLocations());
  RETURN_IF_ERROR(OpenLake());
  RETURN_IF_ERROR(OpenFeed());
  CatchUp();
  RETURN_IF_ERROR(shell_.Serve({.log = detections_.get(),
                                .live = live_.get(),
                                .hub = hub_.get(),
                                .queries = lake_ ? &lake_->queries() : nullptr,
                                .live_not_ready = [this] { return LiveNotReady(); }}));
  shell_.StartMonitor();
  return Status::Ok();
}

Status Serve::OpenTopics() {
  Result<std::unique_ptr<KafkaRawTopics>> raw = KafkaRawTopics::Open(settings_.kafka, StopAsked);
  if (!raw.ok()) return raw.status();
  raw_ = std::move(raw).value();
  Result<KafkaTopic> counts =
      WaitForTopic(raw_->admin(), settings_.kafka, settings_.kafka.counts_topic, StopAsked);
  if (!counts.ok()) return counts.status();
  counts_ = std::move(counts).value();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(raw_->kafka(), kKafkaAskTime);
  if (!admin.ok()) return admin.status();
  watch_ = std::make_unique<TopicWatch>(std::move(admin).value(), std::vector<KafkaTopic>{counts_});
  Result<std::unique_ptr<KafkaProducer>> producer =
      KafkaProducer::Open({.kafka = raw_->kafka(), .bytes_max = settings_.log.queue_max});
  if (!producer.ok()) return producer.status();
  detections_ = std::make_unique<KafkaDetections>(std::move(producer).value(), raw_->name(),
                                                  TopicsToPost(*raw_));
  return Status::Ok();
}

Status Serve::OpenLocations() {
  if (!settings_.locations.empty()) RETURN_IF_ERROR(folder_.Create());
  locations_ =
      std::make_unique<LocationsRefresh>(settings_.locations, folder_.last_good_locations("serve"));
  RETURN_IF_ERROR(locations_->Load());
  SetLocations(locations_->locations());
  locations_->OnChange([this](const std::vector<Location>& known) { SetLocations(known); });
  return Status::Ok();
}

void Serve::SetLocations(const std::vector<Location>& locations) { live_->SetLocations(locations); }

Status Serve::OpenLake() {
  if (settings_.lake.dir.empty()) return Status::Ok();
  Result<std::unique_ptr<LakeReader>> lake =
      LakeReader::Follow(LakeReaderOptionsOf(settings_, folder_.lake_cache("serve")), kWatch);
  if (!lake.ok()) return lake.status();
  lake_ = std::move(lake).value();
  return Status::Ok();
}

Status Serve::OpenFeed() {
  Expect(raw_->topics());
  Result<std::unique_ptr<KafkaCountsFeed>> feed = KafkaCountsFeed::Open(
      {.kafka = raw_->kafka(),
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

// Windows are complete only when these partitions are counted, too.
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
  if (live_->Apply(partition, {&segment, 1})) return;
  // The process must not continue with wrong counts. A new one reads the topic from its beginning.
  const std::lock_guard lock(refused_mutex_);
  refused_ = Status::Stop(
      fmt::format("partition {} of '{}': counts of the offsets [{}, {}) do not continue those "
                  "before: start `serve` again",
                  partition.partition, partition.source, segment.first.v, segment.next.v));
}

void Serve::CatchUp() const {
  const auto until = std::chrono::steady_clock::now() + kCatchUpTime;
  while (!feed_->stats().caught_up && std::chrono::steady_clock::now() < until && !StopAsked())
    std::this_thread::sleep_for(kCatchUpPoll);
}

LogEnd Serve::LogEndOfTopic(const SourcePartition& partition) const {
  // Nothing more comes from a topic that was deleted.
  if (!raw_->FindSource(partition.source)) return LogEnd{};
  const KafkaCountsFeed* const feed = following_;
  // Until the feed exists, more may come.
  if (feed == nullptr) return LogEnd{Offset{INT64_MAX}, AppendTime{0}};
  return feed->EndOf(partition);
}

// Samples what `serve` knows. Cameras, partitions and sinks are reported by `count`.
void Serve::Sample(MonitorReport& report) const {
  MonitorSample& sample = report.sample;
  const KafkaCountsFeedStats stats = feed_->stats();
  if (!live_is_now_) activity_.ForgetSplits();
  live_is_now_ = stats.caught_up;
  activity_.Fill(sample.now_ms, sample);
  // The counting processes report the alerts of cameras. Here they would appear twice.
  sample.cameras.clear();
  report.ledger = live_->LedgerTotal(Scope::All());
  sample.ledger.reset();
  // Until then the feed reads the past.
  if (stats.caught_up) sample.ledger = report.ledger;
  SampleSystem(settings_.data, report);
  report.numbers.emplace_back("records", stats.records);
  report.numbers.emplace_back("viewers", hub_->viewers());
  report.numbers.emplace_back("complete_until", live_->CompleteUntil().v);
  sample.troubles = {{"feed", stats.trouble}, {"brokers", BrokersTrouble()}};
}

Status Serve::WaitForSignal() {
  return shell_.WaitForStop(kWatch, [this] {
    locations_->Refresh();
    LookForTopics();
    {
      const std::lock_guard lock(refused_mutex_);
      RETURN_IF_ERROR(refused_);
    }
    return watch_->Look();
  });
}

void Serve::Stop() {
  shell_.Stop(kServerStop);
  feed_.reset();
  shell_.Release();
}

std::string Serve::BrokersTrouble() const {
  std::string trouble = watch_->trouble();
  return trouble.empty() ? raw_->trouble() : trouble;
}

std::string Serve::StillRead(const KafkaCountsFeedStats& stats) const {
  return fmt::format("topic '{}' is still being read from its beginning: {} records so far",
                     counts_.name, stats.records);
}

// Answers 503 while the past is read: viewers would take its growing counts for those of now.
std::string Serve::LiveNotReady() const {
  const KafkaCountsFeedStats stats = feed_->stats();
  return stats.reading ? StillRead(stats) : "";
}

Health Serve::ReportHealth() const {
  Health health;
  const KafkaCountsFeedStats stats = feed_->stats();
  health.FailIf(stats.trouble);
  health.FailIf(BrokersTrouble());
  if (!stats.caught_up) health.Fail(StillRead(stats));
  if (stats.refused > 0)
    health.reasons.push_back(fmt::format("topic '{}' has {} records that Sightline did not write",
                                         counts_.name, stats.refused));
  health.FailIf(locations_->state().refused);
  health.FailIf(lake_ ? lake_->trouble() : "");
  return health;
}

Health Serve::ReportReadiness() const {
  Health ready;
  const KafkaCountsFeedStats stats = feed_->stats();
  ready.FailIf(stats.trouble);
  ready.FailIf(BrokersTrouble());
  if (!stats.caught_up) ready.Fail(StillRead(stats));
  return ready;
}

void Serve::CollectMetrics(std::vector<Metric>& metrics) const {
  const KafkaCountsFeedStats stats = feed_->stats();
  const auto counter = [&metrics](const char* name, const char* help, int64_t value) {
    metrics.push_back(Metric::Counter(name, help, value));
  };
  const auto gauge = [&metrics](const char* name, const char* help, int64_t value) {
    metrics.push_back(Metric::Gauge(name, help, value));
  };
  if (lake_)
    for (Metric& metric : lake_->queries().metrics()) metrics.push_back(std::move(metric));
  counter("sightline_feed_records_total", "Records read from the counts topic.", stats.records);
  counter("sightline_feed_segments_total",
          "Commits of the counting processes that were read from the counts topic.",
          stats.segments);
  counter("sightline_feed_refused_total",
          "Records of the counts topic that Sightline did not write.", stats.refused);
  gauge("sightline_live_bytes", "Bytes of memory that live panes take.", live_->memory_bytes());
  gauge("sightline_live_viewers", "Event streams that are open.", hub_->viewers());
  gauge("sightline_live_complete_until_ms",
        "Windows that end before this time (Unix ms) are complete.", live_->CompleteUntil().v);
  gauge("sightline_kafka_producer_bytes",
        "Bytes of posted detections that the brokers have not acknowledged yet.",
        detections_->bytes());
}

}  // namespace

Status RunServe(const Settings& settings,
                const std::function<void(const std::string& url)>& ready) {
  return RunProcess<Serve>(settings, ready);
}

}  // namespace sightline
