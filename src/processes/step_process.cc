#include "processes/step_process.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/kafka_options.h"
#include "config/kafka_wait.h"
#include "connectors/kafka/membership.h"
#include "connectors/kafka/steps.h"
#include "connectors/kafka/topic_watch.h"
#include "processes/locations_refresh.h"
#include "processes/probe_server.h"
#include "processes/process.h"
#include "processes/step_loop.h"
#include "processes/store.h"
#include "telemetry/monitor.h"

namespace sightline {
namespace {

// What is read is committed before a partition goes to another process, or after SIGTERM.
constexpr Millis kHandOver{2'500};
constexpr std::chrono::seconds kStartTime{5};
constexpr Millis kWatch{1'000};

// What a step has from its process.
struct StepContext {
  const Settings& options;
  const Clock& clock;
  KafkaOptions kafka;
  const KafkaTopic& from;
  const LocationsRefresh& locations;
  const std::atomic<KafkaMembership*>& membership;  // null: not yet
};

// What the three do differently.
class StepKind {
 public:
  virtual ~StepKind() = default;
  virtual const char* name() const = 0;
  virtual const std::string& from(const Settings& options) const = 0;
  // The topic that is written; null: none is.
  virtual const std::string* to(const Settings& options) const = 0;
  virtual Status Open(const StepContext& context) = 0;
  virtual std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                                       std::function<void()> wake) = 0;
  virtual void SetLocations(const std::vector<Location>&) {}
  virtual std::string trouble() const { return ""; }
};

class TopicStep final : public PartitionStep {
 public:
  explicit TopicStep(std::unique_ptr<KafkaStep> step) : step_(std::move(step)) {}
  Status Step(bool draining) override { return step_->Step(draining); }
  bool drained() const override { return step_->drained(); }
  StepFigures figures() const override {
    const KafkaStepStats stats = step_->stats();
    return {.running = stats.running,
            .next = stats.next,
            .end = stats.end,
            .done = stats.running ? stats.next : Offset{-1},
            .commits = stats.commits,
            .written = stats.messages,
            .refused = stats.refused,
            .failures = stats.failures};
  }

 private:
  const std::unique_ptr<KafkaStep> step_;
};

class TopicKind : public StepKind {
 public:
  Status Open(const StepContext& context) override {
    Result<std::unique_ptr<KafkaSteps>> steps = KafkaSteps::Open(
        {.kafka = context.kafka,
         .from = context.from,
         .to = *to(context.options),
         .transactional_prefix = fmt::format("{}-{}-", context.options.kafka.deployment, name()),
         .commit_interval = context.options.kafka.commit_interval,
         .group_age_max = context.options.kafka.group_interval,
         .group_memory =
             std::min(Millis{3'600'000}, ProgressRepeatInterval(context.options.kafka))});
    if (!steps.ok()) return steps.status();
    steps_ = std::move(steps).value();
    locations_ = &context.locations;
    return Status::Ok();
  }

 protected:
  std::unique_ptr<KafkaSteps> steps_;
  const LocationsRefresh* locations_ = nullptr;
};

class Join final : public TopicKind {
 public:
  const char* name() const override { return "join"; }
  const std::string& from(const Settings& o) const override { return o.kafka.item_counts_topic; }
  const std::string* to(const Settings& o) const override { return &o.kafka.counts_topic; }
  std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                               std::function<void()> wake) override {
    return std::make_unique<TopicStep>(steps_->OpenJoin(
        partition,
        [this](LocationId location) {
          return std::pair(locations_->NameOf(location), locations_->state().version);
        },
        std::move(wake)));
  }
};

class Transform final : public TopicKind {
 public:
  const char* name() const override { return "transform"; }
  const std::string& from(const Settings& o) const override { return o.kafka.counts_topic; }
  const std::string* to(const Settings& o) const override { return &o.kafka.lake_rows_topic; }
  std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                               std::function<void()> wake) override {
    return std::make_unique<TopicStep>(steps_->OpenTransform(partition, std::move(wake)));
  }
};

class StoreKind final : public StepKind {
 public:
  const char* name() const override { return "store"; }
  const std::string& from(const Settings& o) const override { return o.kafka.lake_rows_topic; }
  const std::string* to(const Settings&) const override { return nullptr; }
  Status Open(const StepContext& context) override {
    if (context.options.lake.dir.empty())
      return Status::Stop("store writes a lake: say --lake.dir FOLDER");
    Result<std::unique_ptr<Store>> store = Store::Open(
        context.options, context.clock, context.kafka, context.from, context.locations.locations(),
        [&membership = context.membership,
         &topic = context.from.name](int32_t partition) -> Result<std::optional<Offset>> {
          KafkaMembership* const joined = membership;
          if (joined == nullptr) return Status::Retry("the group is being joined");
          return joined->Reported({topic, partition});
        });
    if (!store.ok()) return store.status();
    store_ = std::move(store).value();
    return Status::Ok();
  }
  std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                               std::function<void()> wake) override {
    return store_->OpenPartition(partition, std::move(wake));
  }
  void SetLocations(const std::vector<Location>& locations) override {
    if (store_) store_->SetLocations(locations);
  }
  std::string trouble() const override { return store_->trouble(); }

 private:
  std::unique_ptr<Store> store_;
};

std::vector<int32_t> NumbersOf(const std::vector<KafkaPartition>& partitions) {
  std::vector<int32_t> numbers;
  for (const KafkaPartition& partition : partitions) numbers.push_back(partition.partition);
  return numbers;
}

template <typename Kind>
class StepProcess {
 public:
  explicit StepProcess(const Settings& options) : options_(options) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return server_->url(); }

 private:
  Status OpenTopics();
  Status OpenLocations();
  Status OpenMonitor();
  Status JoinGroup();
  Status StartServer();
  void ReportNow(MonitorReport& report) const;
  Health ReportHealth() const;
  Health ReportReadiness() const;

  const Settings options_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  SystemClock clock_;
  KafkaOptions kafka_;
  KafkaTopic from_;
  std::unique_ptr<TopicWatch> watch_;
  // In the order of the start; destroyed in reverse.
  Pulse pulse_;
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<LocationsRefresh> locations_;
  Kind kind_;
  std::atomic<KafkaMembership*> joined_ = nullptr;  // membership_, once it is made
  std::unique_ptr<KafkaMembership> membership_;
  std::unique_ptr<StepLoop> loop_;
  std::unique_ptr<BareServer> server_;
};

template <typename Kind>
Status StepProcess<Kind>::Start() {
  if (options_.kafka.client.brokers.empty())
    return Status::Stop(fmt::format("{} reads '{}' from Kafka: say --kafka host:port", kind_.name(),
                                    kind_.from(options_)));
  RETURN_IF_ERROR(OpenTopics());
  RETURN_IF_ERROR(OpenLocations());
  RETURN_IF_ERROR(kind_.Open({.options = options_,
                              .clock = clock_,
                              .kafka = kafka_,
                              .from = from_,
                              .locations = *locations_,
                              .membership = joined_}));
  loop_ = std::make_unique<StepLoop>([this](int32_t partition, std::function<void()> wake) {
    return kind_.OpenPartition(partition, std::move(wake));
  });
  RETURN_IF_ERROR(OpenMonitor());
  RETURN_IF_ERROR(JoinGroup());
  RETURN_IF_ERROR(StartServer());
  monitor_->Start(InstanceOf(options_.alerts, server_->url()), server_->boot());
  return Status::Ok();
}

template <typename Kind>
Status StepProcess<Kind>::OpenMonitor() {
  Result<std::unique_ptr<Monitor>> monitor = Monitor::Open(
      options_, kind_.name(), clock_, [this](MonitorReport& report) { ReportNow(report); });
  if (!monitor.ok()) return monitor.status();
  monitor_ = std::move(monitor).value();
  return Status::Ok();
}

template <typename Kind>
void StepProcess<Kind>::ReportNow(MonitorReport& report) const {
  loop_->Sample(report);
  SampleSystem(options_.data, report);
  for (const auto& [subject, reason] :
       {std::pair("brokers", watch_->trouble()), std::pair("group", membership_->trouble()),
        std::pair("lake", kind_.trouble())})
    report.sample.troubles.push_back({subject, reason});
}

template <typename Kind>
Status StepProcess<Kind>::StartServer() {
  Result<std::unique_ptr<BareServer>> server = BareServer::Start(
      options_, clock_,
      {.metrics =
           [this] {
             std::vector<Metric> metrics;
             monitor_->CollectMetrics(metrics);
             loop_->CollectMetrics(metrics);
             return metrics;
           },
       .health = [this] { return ReportHealth(); },
       .alive = [this] { return pulse_.ReportHealth(); },
       .ready = [this] { return ReportReadiness(); },
       .alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); },
       .alerts_version = [this] { return monitor_->version(); }});
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  return Status::Ok();
}

template <typename Kind>
Status StepProcess<Kind>::OpenTopics() {
  Result<KafkaOptions> kafka = MakeKafkaOptions(options_.kafka);
  if (!kafka.ok()) return kafka.status();
  kafka_ = std::move(kafka).value();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka_, kKafkaAskTime);
  if (!admin.ok()) return admin.status();
  const Result<std::string> cluster = WaitForCluster(*admin.value(), options_.kafka, StopAsked);
  if (!cluster.ok()) return cluster.status();
  Result<KafkaTopic> from =
      WaitForTopic(*admin.value(), options_.kafka, kind_.from(options_), StopAsked);
  if (!from.ok()) return from.status();
  from_ = std::move(from).value();
  std::vector<KafkaTopic> watched = {from_};
  if (const std::string* const to = kind_.to(options_)) {
    const Result<KafkaTopic> topic = WaitForTopic(*admin.value(), options_.kafka, *to, StopAsked);
    if (!topic.ok()) return topic.status();
    if (topic.value().partitions < from_.partitions)
      return Status::Stop(fmt::format(
          "topic '{}' has {} partitions and '{}' only {}: partition p is written to partition p",
          from_.name, from_.partitions, *to, topic.value().partitions));
    watched.push_back(topic.value());
  }
  watch_ = std::make_unique<TopicWatch>(std::move(admin).value(), std::move(watched));
  return Status::Ok();
}

template <typename Kind>
Status StepProcess<Kind>::OpenLocations() {
  std::string copy;
  if (!options_.locations.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options_.data, error);
    if (error)
      return Status::Stop(
          fmt::format("cannot make the data folder '{}': {}", options_.data, error.message()));
    copy =
        (std::filesystem::path(options_.data) / fmt::format("{}_locations.last_good", kind_.name()))
            .string();
  }
  locations_ = std::make_unique<LocationsRefresh>(options_.locations, copy);
  locations_->OnChange([this](const std::vector<Location>& known) { kind_.SetLocations(known); });
  return locations_->Load();
}

template <typename Kind>
Status StepProcess<Kind>::JoinGroup() {
  Result<std::unique_ptr<KafkaMembership>> joined = KafkaMembership::Join(
      {.kafka = kafka_,
       .group = fmt::format("{}-{}", options_.kafka.deployment, kind_.name()),
       .topics = from_.name,
       .on_assigned =
           [this](const std::vector<KafkaPartition>& ours) { loop_->Add(NumbersOf(ours)); },
       .on_revoked =
           [this](const std::vector<KafkaPartition>& lost) {
             loop_->Remove(NumbersOf(lost), kHandOver);
           },
       .session_timeout = options_.kafka.session_timeout});
  if (!joined.ok()) return joined.status();
  membership_ = std::move(joined).value();
  joined_ = membership_.get();
  return Status::Ok();
}

template <typename Kind>
Status StepProcess<Kind>::WaitForSignal() {
  return WaitForStop(kWatch, [this] {
    pulse_.Beat();
    locations_->Refresh();
    for (const auto& [partition, figures] : loop_->figures())
      if (figures.done.v >= 0) membership_->Report({from_.name, partition}, figures.done);
    return watch_->Look();
  });
}

template <typename Kind>
void StepProcess<Kind>::Stop() {
  LogInfo("stopping");
  if (server_) server_->Stop();
  if (monitor_) monitor_->Stop();
  if (membership_)
    for (const auto& [partition, figures] : loop_->figures())
      if (figures.done.v >= 0) membership_->Report({from_.name, partition}, figures.done);
  if (membership_) membership_->Leave();  // gives back what is ours
  server_.reset();
  loop_.reset();  // its steps ask the membership
  membership_.reset();
  LogInfo("stopped");
}

template <typename Kind>
Health StepProcess<Kind>::ReportHealth() const {
  Health health;
  loop_->ReportHealth(std::chrono::steady_clock::now() - started_ > kStartTime, health);
  for (const std::string& trouble :
       {locations_->state().refused, kind_.trouble(), membership_->trouble(), watch_->trouble()}) {
    if (trouble.empty()) continue;
    health.ok = false;
    health.reasons.push_back(trouble);
  }
  return health;
}

template <typename Kind>
Health StepProcess<Kind>::ReportReadiness() const {
  Health ready;
  loop_->ReportReadiness(ready);
  for (const std::string& trouble : {membership_->trouble(), watch_->trouble()}) {
    if (trouble.empty()) continue;
    ready.ok = false;
    ready.reasons.push_back(trouble);
  }
  return ready;
}

}  // namespace

Status RunJoin(const Settings& options, const std::function<void(const std::string& url)>& ready) {
  return RunProcess<StepProcess<Join>>(options, ready);
}
Status RunTransform(const Settings& options,
                    const std::function<void(const std::string& url)>& ready) {
  return RunProcess<StepProcess<Transform>>(options, ready);
}
Status RunStore(const Settings& options, const std::function<void(const std::string& url)>& ready) {
  return RunProcess<StepProcess<StoreKind>>(options, ready);
}

}  // namespace sightline
