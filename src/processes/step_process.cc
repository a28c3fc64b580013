#include "processes/step_process.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/data_folder.h"
#include "config/kafka_options.h"
#include "config/kafka_wait.h"
#include "connectors/kafka/membership.h"
#include "connectors/kafka/steps.h"
#include "connectors/kafka/topic_watch.h"
#include "connectors/locations/locations_refresh.h"
#include "processes/process.h"
#include "processes/service_shell.h"
#include "processes/step_loop.h"
#include "processes/store.h"

namespace sightline {
namespace {

// What is read is committed before a partition goes to another process, or after SIGTERM.
constexpr Millis kHandOver{2'500};
constexpr std::chrono::seconds kStartTime{5};
constexpr Millis kWatch{1'000};
constexpr Millis kServerStop{500};

// What a process gives to the work of its step. All of it outlives the work.
struct StepContext {
  const Settings& settings;
  const LogClock& clock;
  const KafkaOptions& kafka;
  const KafkaTopic& from;
  const LocationsRefresh& locations;
  const std::atomic<KafkaMembership*>& membership;  // null: not yet
};

// The work of one step. Thread-safe: the loop's thread calls OpenPartition(), the main thread and
// the threads that report call the rest.
class StepWork {
 public:
  virtual ~StepWork() = default;
  // Opens the step of a partition, which the work outlives. `wake` wakes the loop.
  virtual std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                                       std::function<void()> wake) = 0;
  virtual void SetLocations(const std::vector<Location>&) {}
  virtual std::string trouble() const { return ""; }
  virtual std::vector<Metric> metrics() const { return {}; }
};

// What distinguishes one step from the others.
struct StepDefinition {
  const char* name;
  std::string from;               // the topic that it reads
  std::optional<std::string> to;  // the topic that it writes; none: it writes elsewhere
  std::function<Result<std::unique_ptr<StepWork>>(const StepContext&)> open;
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

Result<std::unique_ptr<KafkaSteps>> OpenTopicSteps(const StepContext& context, const char* name,
                                                   const std::string& to) {
  const KafkaSettings& kafka = context.settings.kafka;
  return KafkaSteps::Open(
      {.kafka = context.kafka,
       .from = context.from,
       .to = to,
       .transactional_prefix = fmt::format("{}-{}-", kafka.deployment, name),
       .commit_interval = kafka.commit_interval,
       .group_age_max = kafka.group_interval,
       .group_memory = std::min(Millis{3'600'000}, ProgressRepeatInterval(kafka))});
}

// join: adds the names of the locations to counts.
class Join final : public StepWork {
 public:
  Join(std::unique_ptr<KafkaSteps> steps, const LocationsRefresh& locations)
      : steps_(std::move(steps)), locations_(locations) {}
  std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                               std::function<void()> wake) override {
    return std::make_unique<TopicStep>(steps_->OpenJoin(
        partition,
        [this](LocationId location) {
          return std::pair(locations_.NameOf(location), locations_.state().version);
        },
        std::move(wake)));
  }

 private:
  const std::unique_ptr<KafkaSteps> steps_;
  const LocationsRefresh& locations_;
};

// transform: turns counts into sealed segments.
class Transform final : public StepWork {
 public:
  explicit Transform(std::unique_ptr<KafkaSteps> steps) : steps_(std::move(steps)) {}
  std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                               std::function<void()> wake) override {
    return std::make_unique<TopicStep>(steps_->OpenTransform(partition, std::move(wake)));
  }

 private:
  const std::unique_ptr<KafkaSteps> steps_;
};

// store: writes sealed segments into the lake.
class StoreWork final : public StepWork {
 public:
  explicit StoreWork(std::unique_ptr<Store> store) : store_(std::move(store)) {}
  std::unique_ptr<PartitionStep> OpenPartition(int32_t partition,
                                               std::function<void()> wake) override {
    return store_->OpenPartition(partition, std::move(wake));
  }
  void SetLocations(const std::vector<Location>& locations) override {
    store_->SetLocations(locations);
  }
  std::string trouble() const override { return store_->trouble(); }
  std::vector<Metric> metrics() const override { return store_->metrics(); }

 private:
  const std::unique_ptr<Store> store_;
};

StepDefinition JoinStep(const KafkaSettings& kafka) {
  return {.name = "join",
          .from = kafka.item_counts_topic,
          .to = kafka.counts_topic,
          .open = [to = kafka.counts_topic](
                      const StepContext& context) -> Result<std::unique_ptr<StepWork>> {
            Result<std::unique_ptr<KafkaSteps>> steps = OpenTopicSteps(context, "join", to);
            if (!steps.ok()) return steps.status();
            return std::unique_ptr<StepWork>(
                std::make_unique<Join>(std::move(steps).value(), context.locations));
          }};
}

StepDefinition TransformStep(const KafkaSettings& kafka) {
  return {.name = "transform",
          .from = kafka.counts_topic,
          .to = kafka.lake_rows_topic,
          .open = [to = kafka.lake_rows_topic](
                      const StepContext& context) -> Result<std::unique_ptr<StepWork>> {
            Result<std::unique_ptr<KafkaSteps>> steps = OpenTopicSteps(context, "transform", to);
            if (!steps.ok()) return steps.status();
            return std::unique_ptr<StepWork>(std::make_unique<Transform>(std::move(steps).value()));
          }};
}

Result<std::unique_ptr<StepWork>> OpenStoreWork(const StepContext& context) {
  if (context.settings.lake.dir.empty())
    return Status::Stop("store writes a lake: give its folder with --lake.dir FOLDER");
  Result<std::unique_ptr<Store>> store = Store::Open(
      context.settings, context.clock, context.kafka, context.from, context.locations.locations(),
      [&membership = context.membership,
       &topic = context.from.name](int32_t partition) -> Result<std::optional<Offset>> {
        KafkaMembership* const joined = membership;
        if (joined == nullptr) return Status::Retry("the group is being joined");
        return joined->Reported({topic, partition});
      });
  if (!store.ok()) return store.status();
  return std::unique_ptr<StepWork>(std::make_unique<StoreWork>(std::move(store).value()));
}

StepDefinition StoreStep(const KafkaSettings& kafka) {
  return {
      .name = "store", .from = kafka.lake_rows_topic, .to = std::nullopt, .open = OpenStoreWork};
}

std::vector<int32_t> NumbersOf(const std::vector<KafkaPartition>& partitions) {
  std::vector<int32_t> numbers;
  for (const KafkaPartition& partition : partitions) numbers.push_back(partition.partition);
  return numbers;
}

class StepProcess {
 public:
  StepProcess(const Settings& settings, StepDefinition step)
      : settings_(settings), step_(std::move(step)) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return shell_.url(); }

 private:
  Status OpenTopics();
  Status OpenLocations();
  Status OpenWork();
  Status JoinGroup();
  void ReportProgress();
  void Sample(MonitorReport& report) const;
  Health ReportHealth() const;
  Health ReportReadiness() const;

  const Settings settings_;
  const StepDefinition step_;
  const DataFolder folder_{settings_.data};
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  const SystemClock machine_clock_;
  LogClock clock_{machine_clock_};
  KafkaOptions kafka_;
  KafkaTopic from_;
  std::unique_ptr<TopicWatch> watch_;
  // In the order of the start; destroyed in reverse.
  std::unique_ptr<LocationsRefresh> locations_;
  std::unique_ptr<StepWork> work_;
  std::atomic<KafkaMembership*> joined_ = nullptr;  // membership_, once it is made
  std::unique_ptr<KafkaMembership> membership_;
  std::unique_ptr<StepLoop> loop_;
  ServiceShell shell_{settings_,
                      step_.name,
                      clock_,
                      {.sample = [this](MonitorReport& report) { Sample(report); },
                       .metrics =
                           [this](std::vector<Metric>& all) {
                             loop_->CollectMetrics(all);
                             for (Metric& metric : work_->metrics())
                               all.push_back(std::move(metric));
                           },
                       .health = [this] { return ReportHealth(); },
                       .ready = [this] { return ReportReadiness(); }}};
};

Status StepProcess::Start() {
  if (!settings_.kafka.enabled())
    return Status::Stop(
        fmt::format("{} reads '{}' from Kafka: give --kafka host:port", step_.name, step_.from));
  RETURN_IF_ERROR(OpenTopics());
  RETURN_IF_ERROR(OpenLocations());
  RETURN_IF_ERROR(OpenWork());
  RETURN_IF_ERROR(shell_.Open());
  RETURN_IF_ERROR(JoinGroup());
  RETURN_IF_ERROR(shell_.ServeProbes());
  shell_.StartMonitor();
  return Status::Ok();
}

Status StepProcess::OpenTopics() {
  Result<KafkaCluster> cluster = ConnectKafka(settings_.kafka, StopAsked);
  if (!cluster.ok()) return cluster.status();
  kafka_ = std::move(cluster.value().kafka);
  std::unique_ptr<KafkaAdmin> admin = std::move(cluster.value().admin);
  Result<KafkaTopic> from = WaitForTopic(*admin, settings_.kafka, step_.from, StopAsked);
  if (!from.ok()) return from.status();
  from_ = std::move(from).value();
  std::vector<KafkaTopic> watched = {from_};
  if (step_.to) {
    const Result<KafkaTopic> to = WaitForTopic(*admin, settings_.kafka, *step_.to, StopAsked);
    if (!to.ok()) return to.status();
    if (to.value().partitions < from_.partitions)
      return Status::Stop(fmt::format(
          "topic '{}' has {} partitions and '{}' only {}: partition p is written to partition p",
          from_.name, from_.partitions, *step_.to, to.value().partitions));
    watched.push_back(to.value());
  }
  watch_ = std::make_unique<TopicWatch>(std::move(admin), std::move(watched));
  return Status::Ok();
}

// Call it before OpenWork(), which reads the names.
Status StepProcess::OpenLocations() {
  if (!settings_.locations.empty()) RETURN_IF_ERROR(folder_.Create());
  locations_ = std::make_unique<LocationsRefresh>(settings_.locations,
                                                  folder_.last_good_locations(step_.name));
  return locations_->Load();
}

Status StepProcess::OpenWork() {
  Result<std::unique_ptr<StepWork>> work = step_.open({.settings = settings_,
                                                       .clock = clock_,
                                                       .kafka = kafka_,
                                                       .from = from_,
                                                       .locations = *locations_,
                                                       .membership = joined_});
  if (!work.ok()) return work.status();
  work_ = std::move(work).value();
  locations_->OnChange([this](const std::vector<Location>& known) { work_->SetLocations(known); });
  loop_ = std::make_unique<StepLoop>([this](int32_t partition, std::function<void()> wake) {
    return work_->OpenPartition(partition, std::move(wake));
  });
  return Status::Ok();
}

Status StepProcess::JoinGroup() {
  Result<std::unique_ptr<KafkaMembership>> joined = KafkaMembership::Join(
      {.kafka = kafka_,
       .group = fmt::format("{}-{}", settings_.kafka.deployment, step_.name),
       .topics = from_.name,
       .on_assigned =
           [this](const std::vector<KafkaPartition>& ours) { loop_->Add(NumbersOf(ours)); },
       .on_revoked =
           [this](const std::vector<KafkaPartition>& lost) {
             loop_->Remove(NumbersOf(lost), kHandOver);
           },
       .session_timeout = settings_.kafka.session_timeout});
  if (!joined.ok()) return joined.status();
  membership_ = std::move(joined).value();
  joined_ = membership_.get();
  return Status::Ok();
}

Status StepProcess::WaitForSignal() {
  return shell_.WaitForStop(kWatch, [this] {
    locations_->Refresh();
    ReportProgress();
    return watch_->Look();
  });
}

// Reports to the group how far each partition is done. `store` begins there, and tools show it.
void StepProcess::ReportProgress() {
  for (const auto& [partition, figures] : loop_->figures())
    if (figures.done.v >= 0) membership_->Report({from_.name, partition}, figures.done);
}

void StepProcess::Stop() {
  shell_.Stop(kServerStop);
  if (membership_) {
    ReportProgress();
    membership_->Leave();  // gives the partitions back
  }
  shell_.Release();
  loop_.reset();  // before the membership, which its steps use
  membership_.reset();
}

void StepProcess::Sample(MonitorReport& report) const {
  loop_->Sample(report);
  SampleSystem(settings_.data, report);
  for (const auto& [subject, reason] :
       {std::pair("brokers", watch_->trouble()), std::pair("group", membership_->trouble()),
        std::pair("lake", work_->trouble())})
    report.sample.troubles.push_back({subject, reason});
}

Health StepProcess::ReportHealth() const {
  Health health;
  loop_->ReportHealth(std::chrono::steady_clock::now() - started_ > kStartTime, health);
  for (const std::string& trouble :
       {locations_->state().refused, work_->trouble(), membership_->trouble(), watch_->trouble()})
    health.FailIf(trouble);
  return health;
}

Health StepProcess::ReportReadiness() const {
  Health ready;
  loop_->ReportReadiness(ready);
  for (const std::string& trouble : {membership_->trouble(), watch_->trouble()})
    ready.FailIf(trouble);
  return ready;
}

Status RunStep(const Settings& settings, StepDefinition step,
               const std::function<void(const std::string& url)>& ready) {
  StepProcess process(settings, std::move(step));
  return RunProcess(process, ready);
}

}  // namespace

Status RunJoin(const Settings& settings, const std::function<void(const std::string& url)>& ready) {
  return RunStep(settings, JoinStep(settings.kafka), ready);
}
Status RunTransform(const Settings& settings,
                    const std::function<void(const std::string& url)>& ready) {
  return RunStep(settings, TransformStep(settings.kafka), ready);
}
Status RunStore(const Settings& settings,
                const std::function<void(const std::string& url)>& ready) {
  return RunStep(settings, StoreStep(settings.kafka), ready);
}

}  // namespace sightline
