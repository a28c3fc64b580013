#include "telemetry/monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sightline {
namespace {

namespace json = boost::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr int64_t kWall = 1'763'800'000'000;

template <typename Holds>
bool Eventually(Holds holds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Without brokers: nothing is published.
class MonitorTest : public testing::Test {
 protected:
  std::unique_ptr<Monitor> Started() {
    auto monitor = std::move(Monitor::Open(AlertSettings(), KafkaSettings(), "count", clock_,
                                           [this](MonitorReport &report) { Report(report); }))
                       .value();
    monitor->Start("host:1", "boot");
    return monitor;
  }
  void Report(MonitorReport &report) {
    const std::lock_guard lock(mutex_);
    ++reports_;
    EXPECT_EQ(report.sample.wall_ms, kWall);
    EXPECT_GE(report.sample.now_ms, newest_ms_);
    newest_ms_ = report.sample.now_ms;
    if (sample_) sample_(report.sample);
  }
  void Set(std::function<void(MonitorSample &)> sample) {
    const std::lock_guard lock(mutex_);
    sample_ = std::move(sample);
  }
  int reports() {
    const std::lock_guard lock(mutex_);
    return reports_;
  }
  // "rule subject" of those that the scope sees.
  static std::vector<std::string> Active(const Monitor &monitor, const Scope &scope) {
    const json::value value = json::parse(monitor.ActiveJson(scope));
    EXPECT_EQ(value.at("version").to_number<int64_t>(), monitor.version());
    std::vector<std::string> active;
    for (const json::value &alert : value.at("alerts").as_array())
      active.push_back(std::string(alert.at("rule").as_string()) + ' ' +
                       std::string(alert.at("subject").as_string()));
    return active;
  }
  static std::map<std::string, double> Metrics(const Monitor &monitor) {
    std::vector<Metric> metrics;
    monitor.CollectMetrics(metrics);
    std::map<std::string, double> values;
    for (const Metric &metric : metrics)
      values[metric.name + (metric.labels.empty() ? "" : ' ' + metric.labels[0].second)] =
          metric.value;
    return values;
  }

  ManualClock clock_{kWall};
  std::mutex mutex_;
  int reports_ = 0;                              // under mutex_
  int64_t newest_ms_ = 0;                        // under mutex_
  std::function<void(MonitorSample &)> sample_;  // under mutex_
};

TEST_F(MonitorTest, LooksAtOnceAndTellsWhatStarts) {
  Set([](MonitorSample &sample) { sample.clock_unguarded = "the topic has the senders' times"; });
  const auto monitor = Started();
  EXPECT_TRUE(Eventually([&] { return monitor->version() == 1; }));
  EXPECT_THAT(Active(*monitor, Scope::All()), ElementsAre("clock_unguarded all"));
  const json::value alert = json::parse(monitor->ActiveJson(Scope::All())).at("alerts").at(0);
  EXPECT_EQ(alert.at("text").as_string(), "the topic has the senders' times");
  EXPECT_EQ(alert.at("since").to_number<int64_t>(), kWall);
  EXPECT_TRUE(alert.at("location").is_null());
  const auto metrics = Metrics(*monitor);
  EXPECT_EQ(metrics.at("sightline_alert_active clock_unguarded"), 1);
  EXPECT_EQ(metrics.at("sightline_alert_active degraded"), 0);
  EXPECT_EQ(metrics.at("sightline_alerts_started_total"), 1);
}

TEST_F(MonitorTest, LooksAgainAndTellsWhatEnds) {
  Set([](MonitorSample &sample) { sample.clock_unguarded = "the topic has the senders' times"; });
  const auto monitor = Started();
  EXPECT_TRUE(Eventually([&] { return monitor->version() == 1; }));
  Set(nullptr);
  EXPECT_TRUE(Eventually([&] { return monitor->version() == 2; }));
  EXPECT_THAT(Active(*monitor, Scope::All()), IsEmpty());
  const auto metrics = Metrics(*monitor);
  EXPECT_EQ(metrics.at("sightline_alert_active clock_unguarded"), 0);
  EXPECT_EQ(metrics.at("sightline_alerts_started_total"), 1);
}

TEST_F(MonitorTest, AnAlertOfALocationIsForThoseWhoSeeIt) {
  Set([](MonitorSample &sample) {
    sample.clock_unguarded = "the topic has the senders' times";
    const int64_t long_ago = sample.now_ms - 86'400'000;
    sample.cameras = {{.camera = {71}, .location = {7}, .last_seen_ms = long_ago}};
    sample.locations = {{.location = {8}, .last_seen_ms = long_ago}};
  });
  const auto monitor = Started();
  EXPECT_TRUE(Eventually([&] { return monitor->version() == 1; }));
  const std::string camera = "camera_silent camera 71", location = "location_silent location 8",
                    all = "clock_unguarded all";
  EXPECT_THAT(Active(*monitor, Scope::All()), testing::UnorderedElementsAre(camera, location, all));
  EXPECT_THAT(Active(*monitor, {.locations = {{{7}}}}), testing::UnorderedElementsAre(camera, all));
  EXPECT_THAT(Active(*monitor, {.locations = {{{8}, {9}}}}),
              testing::UnorderedElementsAre(location, all));
  EXPECT_THAT(Active(*monitor, {.locations = std::set<LocationId>()}), ElementsAre(all));
}

TEST_F(MonitorTest, LooksNoMoreOnceItIsStopped) {
  const auto monitor = Started();
  EXPECT_TRUE(Eventually([&] { return reports() > 0; }));
  monitor->Stop();
  const int before = reports();
  monitor->Stop();
  EXPECT_EQ(reports(), before);
}

TEST_F(MonitorTest, NeedNotBeStarted) {
  auto monitor = std::move(Monitor::Open(AlertSettings(), KafkaSettings(), "count", clock_,
                                         [](MonitorReport &) { FAIL(); }))
                     .value();
  EXPECT_EQ(monitor->version(), 0);
  EXPECT_THAT(Active(*monitor, Scope::All()), IsEmpty());
}

PartitionHealth Running(int32_t partition, const std::string &source) {
  PartitionHealth health{.partition = {source, partition}, .health = TaskHealth::kRunning};
  health.task.position = {40};
  health.task.watermark = {1'000};
  health.task.records = 40;
  health.task.clock_jumps = {2, {71}};
  health.task.id_conflicts.Add({20}, {10}, {1});
  health.task.sinks = {{.committed = {30}, .commits = 3}, {.committed = {40}, .commits = 4}};
  return health;
}

TEST(SampleEngine, IsOfItsPartitionsAndTheirSums) {
  std::vector<PartitionHealth> partitions = {Running(0, "kafka:c/raw/id"),
                                             Running(1, "kafka:c/raw/id")};
  partitions[1].health = TaskHealth::kStopped;
  partitions[1].reason = "records are lost";
  partitions[1].task.gap = {{10}, {30}};
  MonitorReport report;
  const AppendTime newest = SampleEngine(
      partitions, {{.name = "counts", .commit_interval_ms = 60}, {.name = "lake"}},
      [](const SourcePartition &partition) {
        return LogEnd{{100 + partition.partition}, {900 - partition.partition}};
      },
      report);
  EXPECT_EQ(newest, AppendTime{900});
  ASSERT_EQ(report.sample.partitions.size(), 2);
  const PartitionSample &first = report.sample.partitions[0];
  EXPECT_EQ(first.partition, 0);
  EXPECT_EQ(first.topic, "") << "they are all of one";
  EXPECT_TRUE(first.running);
  EXPECT_EQ(first.position, Offset{40});
  EXPECT_EQ(first.end, Offset{100});
  EXPECT_EQ(first.watermark, Watermark{1'000});
  EXPECT_EQ(first.clock_jumps, 2);
  EXPECT_EQ(first.jumped_camera, CameraId{71});
  ASSERT_EQ(first.id_conflicts.size(), 1);
  EXPECT_EQ(first.id_conflicts[0].first, CameraId{10});
  EXPECT_EQ(first.id_conflicts[0].second, CameraId{20});
  EXPECT_EQ(first.id_conflicts[0].count, 1);
  ASSERT_EQ(first.sinks.size(), 2);
  EXPECT_EQ(first.sinks[0].name, "counts");
  EXPECT_EQ(first.sinks[0].committed, Offset{30});
  EXPECT_EQ(first.sinks[0].interval, Millis{60});
  const PartitionSample &second = report.sample.partitions[1];
  EXPECT_FALSE(second.running);
  EXPECT_EQ(second.reason, "records are lost");
  EXPECT_EQ(second.lost_first, Offset{10});
  EXPECT_EQ(second.lost_next, Offset{30});
  EXPECT_THAT(report.numbers, Contains(Pair("records", 80)));
  EXPECT_THAT(report.numbers, Contains(Pair("clock_jumps", 4)));
  EXPECT_THAT(report.numbers, Contains(Pair("commits counts", 6)));
  EXPECT_THAT(report.numbers, Contains(Pair("commits lake", 8)));
  EXPECT_THAT(report.numbers, Contains(Pair("partitions_running", 1)));
}

TEST(SampleEngine, NamesTheTopicsOfSeveral) {
  MonitorReport report;
  const AppendTime newest = SampleEngine(
      {Running(0, "kafka:c/raw_7/id7"), Running(0, "kafka:c/raw_8/id8")}, {}, nullptr, report);
  EXPECT_EQ(newest, kNoAppendTime);
  EXPECT_EQ(report.sample.partitions[0].topic, "raw_7");
  EXPECT_EQ(report.sample.partitions[1].topic, "raw_8");
}

TEST(SampleSystem, KnowsMemoryAndDisk) {
  MonitorReport report;
  SampleSystem("/", report);
  ASSERT_EQ(report.sample.limits.size(), 2);
  EXPECT_EQ(report.sample.limits[0].name, "memory");
  EXPECT_GT(report.sample.limits[0].used, 0);
  EXPECT_EQ(report.sample.limits[1].name, "disk");
  EXPECT_GE(report.sample.limits[1].limit, report.sample.limits[1].used);
  MonitorReport without;
  SampleSystem("/nowhere/at/all", without);
  EXPECT_EQ(without.sample.limits.size(), 1);
}

TEST(SampleKafka, HasTheWritersNumbers) {
  MonitorReport report;
  SampleKafka({.commits = 3, .messages = 9, .failures = 1, .commit_microseconds = 700}, report);
  EXPECT_THAT(report.numbers, ElementsAre(Pair("kafka_commits", 3), Pair("kafka_commits_failed", 1),
                                          Pair("kafka_commit_microseconds", 700)));
}

TEST(InstanceOf, IsTheOptionOrHostAndPort) {
  AlertSettings options;
  EXPECT_TRUE(InstanceOf(options, "http://127.0.0.1:8080").ends_with(":8080"));
  options.instance = "north";
  EXPECT_EQ(InstanceOf(options, "http://127.0.0.1:8080"), "north");
}

}  // namespace
}  // namespace sightline
