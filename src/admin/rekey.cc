#include "admin/rekey.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "admin/copy_runner.h"
#include "base/log.h"
#include "config/kafka_options.h"
#include "config/kafka_wait.h"
#include "connectors/kafka/topic_copy.h"
#include "connectors/kafka/topic_watch.h"
#include "processes/probe_server.h"
#include "processes/process.h"
#include "telemetry/monitor.h"

namespace sightline {
namespace {

constexpr Millis kWatch{100};
constexpr int64_t kProgressMs = 10'000;

class Rekey {
 public:
  Rekey(const Settings& options, const RekeyOptions& rekey) : options_(options), rekey_(rekey) {}

  Status Start();
  Status WaitForSignal();
  void Stop();
  std::string url() const { return server_->url(); }

 private:
  Status OpenTopics();
  Status OpenMonitor();
  Status StartServer();
  Status Look();
  Health ReportHealth() const;

  const Settings options_;
  const RekeyOptions rekey_;
  SystemClock clock_;
  KafkaOptions kafka_;
  CopyTopics topics_;
  std::string cluster_id_;
  bool done_ = false;
  int64_t told_ms_ = SteadyMs();
  // In the order of the start; destroyed in reverse.
  Pulse pulse_;
  std::unique_ptr<TopicWatch> watch_;
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<TopicCopy> copy_;
  std::unique_ptr<CopyRunner> runner_;
  std::unique_ptr<BareServer> server_;
};

Status Rekey::Start() {
  RETURN_IF_ERROR(OpenTopics());
  const KafkaTopic from = TopicToRead(topics_.from), to = TopicToRead(topics_.to);
  copy_ = std::make_unique<TopicCopy>(TopicCopyOptions{
      .copy = {.kafka = kafka_,
               .to = to,
               .name = fmt::format("{}-rekey-{}", options_.kafka.deployment, to.name),
               .offsets_topic = from.name,
               .what = fmt::format("rekey by {} of {} into {} partitions", ToString(rekey_.by),
                                   KafkaSourceName(cluster_id_, from), to.partitions),
               .by = rekey_.by,
               .timestamp_unit = options_.pipeline.timestamp_unit},
      .from = from,
      .start_at = rekey_.start_at,
      .only_into_empty = !rekey_.start_at,
      .until_end = rekey_.until_end});
  runner_ = std::make_unique<CopyRunner>(
      [this](const std::atomic<bool>& stop) { return copy_->Open(stop); });
  RETURN_IF_ERROR(OpenMonitor());
  RETURN_IF_ERROR(StartServer());
  monitor_->Start(InstanceOf(options_.alerts, server_->url()), server_->boot());
  return Status::Ok();
}

Status Rekey::OpenTopics() {
  Result<KafkaOptions> kafka = MakeKafkaOptions(options_.kafka);
  if (!kafka.ok()) return kafka.status();
  kafka_ = std::move(kafka).value();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka_, kKafkaAskTime);
  if (!admin.ok()) return admin.status();
  const Result<std::string> cluster = WaitForCluster(*admin.value(), options_.kafka, StopAsked);
  if (!cluster.ok()) return cluster.status();
  cluster_id_ = cluster.value();
  for (const bool is_from : {true, false}) {
    const std::string& name = is_from ? rekey_.from : rekey_.to;
    const Result<std::optional<KafkaTopicState>> found =
        WaitForKafka(options_.kafka, StopAsked, [&] { return admin.value()->Describe(name); });
    if (!found.ok()) return found.status();
    if (!found.value())
      return Status::Stop(is_from
                              ? fmt::format("there is no topic '{}' at {}: give one with --from",
                                            name, options_.kafka.client.brokers)
                              : NoTopicToWrite(name, options_.kafka.client.brokers));
    (is_from ? topics_.from : topics_.to) = *found.value();
  }
  RETURN_IF_ERROR(CheckCopyTopics(topics_));
  for (const std::string& warning : WarnOfCopyTopics(topics_)) LogWarning(warning);
  watch_ = std::make_unique<TopicWatch>(
      std::move(admin).value(),
      std::vector<KafkaTopic>{TopicToRead(topics_.from), TopicToRead(topics_.to)});
  return Status::Ok();
}

Status Rekey::OpenMonitor() {
  Result<std::unique_ptr<Monitor>> monitor =
      Monitor::Open(options_, "rekey", clock_, [this](MonitorReport& report) {
        runner_->Sample(report);
        SampleSystem(options_.data, report);
        report.sample.troubles = {{"brokers", watch_->trouble()}, {"copy", runner_->trouble()}};
      });
  if (!monitor.ok()) return monitor.status();
  monitor_ = std::move(monitor).value();
  return Status::Ok();
}

Status Rekey::StartServer() {
  Result<std::unique_ptr<BareServer>> server = BareServer::Start(
      options_, clock_,
      {.metrics =
           [this] {
             std::vector<Metric> metrics;
             monitor_->CollectMetrics(metrics);
             runner_->CollectMetrics(metrics);
             return metrics;
           },
       .health = [this] { return ReportHealth(); },
       .alive = [this] { return pulse_.ReportHealth(); },
       .ready = [this] { return ReportHealth(); },
       .alerts = [this](const Scope& scope) { return monitor_->ActiveJson(scope); },
       .alerts_version = [this] { return monitor_->version(); }});
  if (!server.ok()) return server.status();
  server_ = std::move(server).value();
  return Status::Ok();
}

Health Rekey::ReportHealth() const {
  Health health;
  runner_->ReportHealth(health);
  if (const std::string trouble = watch_->trouble(); !trouble.empty()) {
    health.ok = false;
    health.reasons.push_back(trouble);
  }
  return health;
}

// kRetry: everything is copied.
Status Rekey::Look() {
  pulse_.Beat();
  if (SteadyMs() - told_ms_ >= kProgressMs) {
    told_ms_ = SteadyMs();
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
  const Status status = WaitForStop(kWatch, [this] { return Look(); });
  return done_ ? Status::Ok() : status;
}

void Rekey::Stop() {
  LogInfo("stopping");
  if (server_) server_->Stop();
  if (monitor_) monitor_->Stop();
  if (runner_) {
    const KafkaCopyStats stats = runner_->stats();
    LogInfo(
        fmt::format("{} records of '{}' were copied as {} into '{}', {} of them split, {} "
                    "elements unreadable{}",
                    stats.read, rekey_.from, stats.written, rekey_.to, stats.split,
                    stats.unreadable, done_ ? ": all that there were" : ""));
  }
  server_.reset();
  runner_.reset();
  LogInfo("stopped");
}

}  // namespace

std::string_view ToString(RekeyBy by) {
  return by == RekeyBy::kCamera ? "camera" : "detection_oid";
}

Status RunRekey(const Settings& options, const RekeyOptions& rekey,
                const std::function<void(const std::string& url)>& ready) {
  Rekey process(options, rekey);
  return RunProcess(process, ready);
}

}  // namespace sightline
