#include "admin/rekey.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "admin/copy_runner.h"
#include "base/log.h"
#include "config/kafka_wait.h"
#include "connectors/kafka/topic_copy.h"
#include "connectors/kafka/topic_watch.h"
#include "processes/process.h"
#include "processes/service_shell.h"

namespace sightline {
namespace {

constexpr Millis kWatch{100};
constexpr Millis kServerStop{500};
constexpr int64_t kProgressMs = 10'000;

class Rekey {
 public:
  Rekey(const Settings& settings, const RekeyOptions& rekey) : settings_(settings), rekey_(rekey) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return shell_.url(); }

 private:
  Status OpenTopics();
  Status Look();
  void Sample(MonitorReport& report) const;
  Health ReportHealth() const;

  const Settings settings_;
  const RekeyOptions rekey_;
  const SystemClock machine_clock_;
  LogClock clock_{machine_clock_};
  KafkaOptions kafka_;
  CopyTopics topics_;
  std::string cluster_id_;
  bool done_ = false;
  int64_t reported_ms_ = SteadyMs();
  // In the order of the start; destroyed in reverse.
  std::unique_ptr<TopicWatch> watch_;
  std::unique_ptr<TopicCopy> copy_;
  std::unique_ptr<CopyRunner> runner_;
  ServiceShell shell_{
      settings_,
      "rekey",
      clock_,
      {.sample = [this](MonitorReport& report) { Sample(report); },
       .metrics = [this](std::vector<Metric>& all) { runner_->CollectMetrics(all); },
       .health = [this] { return ReportHealth(); },
       .ready = [this] { return ReportHealth(); }}};
};

Status Rekey::Start() {
  RETURN_IF_ERROR(OpenTopics());
  const KafkaTopic from = TopicToRead(topics_.from), to = TopicToRead(topics_.to);
  copy_ = std::make_unique<TopicCopy>(TopicCopyOptions{
      .copy = {.kafka = kafka_,
               .to = to,
               .name = fmt::format("{}-rekey-{}", settings_.kafka.deployment, to.name),
               .offsets_topic = from.name,
               .what = fmt::format("rekey by {} of {} into {} partitions", ToString(rekey_.by),
                                   KafkaSourceName(cluster_id_, from), to.partitions),
               .by = rekey_.by,
               .decode = settings_.pipeline.decode},
      .from = from,
      .start_at = rekey_.start_at,
      .only_into_empty = !rekey_.start_at,
      .until_end = rekey_.until_end});
  runner_ = std::make_unique<CopyRunner>(
      [this](const std::atomic<bool>& stop) { return copy_->Open(stop); });
  RETURN_IF_ERROR(shell_.Open());
  RETURN_IF_ERROR(shell_.ServeProbes());
  shell_.StartMonitor();
  return Status::Ok();
}

Status Rekey::OpenTopics() {
  Result<KafkaCluster> cluster = ConnectKafka(settings_.kafka, StopAsked);
  if (!cluster.ok()) return cluster.status();
  kafka_ = std::move(cluster.value().kafka);
  cluster_id_ = std::move(cluster.value().id);
  std::unique_ptr<KafkaAdmin> admin = std::move(cluster.value().admin);
  for (const bool is_from : {true, false}) {
    const std::string& name = is_from ? rekey_.from : rekey_.to;
    const Result<std::optional<KafkaTopicState>> found =
        WaitForKafka(settings_.kafka, StopAsked, [&] { return admin->Describe(name); });
    if (!found.ok()) return found.status();
    if (!found.value())
      return Status::Stop(is_from
                              ? fmt::format("there is no topic '{}' at {}: give one with --from",
                                            name, settings_.kafka.client.brokers)
                              : NoTopicToWrite(name, settings_.kafka.client.brokers));
    (is_from ? topics_.from : topics_.to) = *found.value();
  }
  RETURN_IF_ERROR(CheckCopyTopics(topics_));
  for (const std::string& warning : WarnOfCopyTopics(topics_)) LogWarning(warning);
  watch_ = std::make_unique<TopicWatch>(
      std::move(admin),
      std::vector<KafkaTopic>{TopicToRead(topics_.from), TopicToRead(topics_.to)});
  return Status::Ok();
}

void Rekey::Sample(MonitorReport& report) const {
  runner_->Sample(report);
  SampleSystem(settings_.data, report);
  report.sample.troubles = {{"brokers", watch_->trouble()}, {"copy", runner_->trouble()}};
}

Health Rekey::ReportHealth() const {
  Health health;
  runner_->ReportHealth(health);
  health.FailIf(watch_->trouble());
  return health;
}

// Checks the copy and the topics. kRetry: everything is copied.
Status Rekey::Look() {
  if (SteadyMs() - reported_ms_ >= kProgressMs) {
    reported_ms_ = SteadyMs();
    if (const std::string line = runner_->Progress(); !line.empty()) LogInfo(line);
  }
  if (const std::optional<Status> ended = runner_->ended()) {
    RETURN_IF_ERROR(*ended);
    done_ = true;
    return Status::Retry("done");
  }
  return watch_->Look();
}

Status Rekey::WaitForSignal() {
  const Status status = shell_.WaitForStop(kWatch, [this] { return Look(); });
  return done_ ? Status::Ok() : status;
}

void Rekey::Stop() {
  shell_.Stop(kServerStop);
  if (runner_) {
    const KafkaCopyStats stats = runner_->stats();
    LogInfo(fmt::format(
        "{} records of '{}' were copied as {} into '{}'; {} of them were split, {} elements could "
        "not be decoded{}",
        stats.read, rekey_.from, stats.written, rekey_.to, stats.split, stats.unreadable,
        done_ ? "; everything is copied" : ""));
  }
  shell_.Release();
  runner_.reset();
}

}  // namespace

std::string_view ToString(RekeyBy by) {
  return by == RekeyBy::kCamera ? "camera" : "detection_oid";
}

Status RunRekey(const Settings& settings, const RekeyOptions& rekey,
                const std::function<void(const std::string& url)>& ready) {
  Rekey process(settings, rekey);
  return RunProcess(process, ready);
}

}  // namespace sightline
