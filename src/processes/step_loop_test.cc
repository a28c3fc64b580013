#include "processes/step_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
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

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

template <typename Holds>
bool Eventually(Holds holds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// What the steps of a partition do, and what became of them.
struct Script {
  std::deque<Status> answers;  // of Step(), one each; then `otherwise`
  Status otherwise = Status::Retry("");
  bool drained = true;
  int drains_after = 0;  // calls that drain, until it is drained
  StepFigures figures = {.running = true, .next = {7}, .end = {9}, .commits = 2, .written = 5};
  int opened = 0, living = 0, stepped = 0, draining = 0;
  std::function<void()> wake;
};

class StepLoopTest : public testing::Test {
 protected:
  class ScriptedStep final : public PartitionStep {
   public:
    ScriptedStep(StepLoopTest &test, int32_t partition) : test_(test), partition_(partition) {}
    ~ScriptedStep() override {
      const std::lock_guard lock(test_.mutex_);
      --mine().living;
    }
    Status Step(bool draining) override {
      const std::lock_guard lock(test_.mutex_);
      ++mine().stepped;
      if (draining) {
        ++mine().draining;
        if (mine().draining == mine().drains_after) mine().drained = true;
      }
      if (mine().answers.empty()) return mine().otherwise;
      Status answer = mine().answers.front();
      mine().answers.pop_front();
      return answer;
    }
    bool drained() const override {
      const std::lock_guard lock(test_.mutex_);
      return mine().drained;
    }
    StepFigures figures() const override {
      const std::lock_guard lock(test_.mutex_);
      return mine().figures;
    }

   private:
    Script &mine() const { return test_.scripts_[partition_]; }
    StepLoopTest &test_;
    const int32_t partition_;
  };

  StepLoop::Open Open() {
    return [this](int32_t partition, std::function<void()> wake) {
      {
        const std::lock_guard lock(mutex_);
        Script &script = scripts_[partition];
        ++script.opened;
        ++script.living;
        script.wake = std::move(wake);
      }
      return std::make_unique<ScriptedStep>(*this, partition);
    };
  }
  Script Now(int32_t partition) {
    const std::lock_guard lock(mutex_);
    return scripts_[partition];
  }
  template <typename Holds>
  bool Becomes(int32_t partition, Holds holds) {
    return Eventually([&] { return holds(Now(partition)); });
  }
  static Health Told(const StepLoop &loop, bool late) {
    Health health;
    loop.ReportHealth(late, health);
    return health;
  }
  static Health Ready(const StepLoop &loop) {
    Health ready;
    loop.ReportReadiness(ready);
    return ready;
  }
  static std::map<std::string, double> Metrics(const StepLoop &loop, const std::string &partition) {
    std::vector<Metric> metrics;
    loop.CollectMetrics(metrics);
    std::map<std::string, double> values;
    for (const Metric &metric : metrics)
      if (metric.labels.empty() || metric.labels[0].second == partition)
        values[metric.name] = metric.value;
    return values;
  }

  std::mutex mutex_;
  std::map<int32_t, Script> scripts_;  // under mutex_
};

TEST_F(StepLoopTest, StepsThePartitionsThatItHas) {
  StepLoop loop(Open());
  loop.Add({0, 3});
  loop.Add({3});
  for (const int32_t partition : {0, 3})
    EXPECT_TRUE(Becomes(partition, [](const Script &s) { return s.stepped >= 3; }));
  EXPECT_EQ(Now(3).opened, 1);
  EXPECT_TRUE(Eventually([&] { return loop.figures().size() == 2 && Ready(loop).ok; }));
  EXPECT_EQ(loop.figures().at(3).next, Offset{7});
  const auto metrics = Metrics(loop, "3");
  EXPECT_EQ(metrics.at("sightline_step_partitions"), 2);
  EXPECT_EQ(metrics.at("sightline_step_running"), 1);
  EXPECT_EQ(metrics.at("sightline_step_offset"), 7);
  EXPECT_EQ(metrics.at("sightline_step_lag"), 2);
  EXPECT_EQ(metrics.at("sightline_step_commits_total"), 2);
  EXPECT_EQ(metrics.at("sightline_step_written_total"), 5);
  EXPECT_EQ(metrics.at("sightline_step_rebuilt_total"), 0);
}

TEST_F(StepLoopTest, OneThatIsBehindHoldsUpNoOther) {
  scripts_[0].otherwise = Status::Ok();
  StepLoop loop(Open());
  loop.Add({0, 1});
  EXPECT_TRUE(Becomes(1, [](const Script &s) { return s.stepped >= 3; }));
  EXPECT_EQ(loop.figures().size(), 2) << "nor who asks";
  loop.Remove({0}, {0});
  EXPECT_EQ(Now(0).living, 0);
}

TEST_F(StepLoopTest, IsWokenFromAnyThread) {
  StepLoop loop(Open());
  loop.Add({0});
  EXPECT_TRUE(Becomes(0, [](const Script &s) { return s.wake != nullptr; }));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([wake = Now(0).wake] { wake(); });
  for (std::thread &thread : threads) thread.join();
  const int before = Now(0).stepped;
  EXPECT_TRUE(Becomes(0, [&](const Script &s) { return s.stepped > before; }));
}

TEST_F(StepLoopTest, ThrowsAwayAndOpensAnother) {
  scripts_[0].answers = {Status::Rebuild("fenced"), Status::Rebuild("fenced again")};
  StepLoop loop(Open());
  loop.Add({0, 1});
  EXPECT_TRUE(Becomes(0, [](const Script &s) { return s.opened == 3 && s.stepped >= 4; }));
  EXPECT_EQ(Now(0).living, 1);
  EXPECT_EQ(Now(1).opened, 1);
  EXPECT_TRUE(Eventually([&] { return Ready(loop).ok; }));
  EXPECT_EQ(Metrics(loop, "0").at("sightline_step_rebuilt_total"), 2);
  MonitorReport report;
  loop.Sample(report);
  EXPECT_THAT(report.numbers, Contains(std::pair<std::string, int64_t>("rebuilds", 2)));
}

TEST_F(StepLoopTest, OneThatStopsWaitsForAPerson) {
  scripts_[0].answers = {Status::Stop("records are lost")};
  StepLoop loop(Open());
  loop.Add({0, 1});
  EXPECT_TRUE(Eventually([&] { return !Told(loop, false).ok; }));
  EXPECT_THAT(Told(loop, false).reasons, ElementsAre("partition 0 is stopped: records are lost"));
  EXPECT_TRUE(Eventually([&] { return loop.figures().at(1).running; }));
  EXPECT_THAT(Ready(loop).reasons, ElementsAre("partition 0 does not run: records are lost"));
  const int before = Now(1).stepped;
  EXPECT_TRUE(Becomes(1, [&](const Script &s) { return s.stepped > before + 3; }));
  EXPECT_EQ(Now(0).opened, 1);
  EXPECT_EQ(Now(0).living, 0);
  MonitorReport report;
  loop.Sample(report);
  ASSERT_EQ(report.sample.troubles.size(), 1);
  EXPECT_EQ(report.sample.troubles[0].subject, "partition 0");
  EXPECT_EQ(report.sample.troubles[0].reason, "records are lost");
  ASSERT_EQ(report.sample.partitions.size(), 2);
  EXPECT_FALSE(report.sample.partitions[0].running);
  EXPECT_TRUE(report.sample.partitions[1].running);
  EXPECT_THAT(report.numbers, Contains(std::pair<std::string, int64_t>("partitions_running", 1)));
  // And can be taken away.
  loop.Remove({0}, {3'600'000});
  EXPECT_TRUE(Told(loop, false).ok);
}

TEST_F(StepLoopTest, OneThatDoesNotStartIsToldWhenItIsLate) {
  scripts_[0].otherwise = Status::Retry("the coordinator is away");
  scripts_[0].figures = {};
  StepLoop loop(Open());
  loop.Add({0});
  EXPECT_TRUE(Eventually([&] { return !Told(loop, true).ok; }));
  EXPECT_THAT(Told(loop, true).reasons,
              ElementsAre("partition 0 cannot start: the coordinator is away"));
  EXPECT_TRUE(Told(loop, false).ok);
  EXPECT_THAT(Ready(loop).reasons,
              ElementsAre("partition 0 does not run: the coordinator is away"));
}

TEST_F(StepLoopTest, WhatIsTakenAwayIsDrainedFirst) {
  scripts_[0].drained = false;
  scripts_[0].drains_after = 3;
  StepLoop loop(Open());
  loop.Add({0, 1});
  EXPECT_TRUE(Becomes(0, [](const Script &s) { return s.stepped >= 1; }));
  EXPECT_EQ(Now(0).draining, 0);
  loop.Remove({0}, {3'600'000});
  EXPECT_EQ(Now(0).draining, 3);
  EXPECT_EQ(Now(0).living, 0);
  EXPECT_EQ(Now(1).draining, 0);
  EXPECT_EQ(loop.figures().size(), 1);
}

TEST_F(StepLoopTest, WhatDoesNotDrainIsTakenAwayAllTheSame) {
  scripts_[0].drained = false;
  StepLoop loop(Open());
  loop.Add({0});
  EXPECT_TRUE(Becomes(0, [](const Script &s) { return s.stepped >= 1; }));
  loop.Remove({0}, {20});
  EXPECT_EQ(Now(0).living, 0);
  const int before = Now(0).stepped;
  // Given back.
  loop.Add({0});
  EXPECT_TRUE(Becomes(0, [&](const Script &s) { return s.stepped > before; }));
  EXPECT_EQ(Now(0).opened, 2);
}

TEST_F(StepLoopTest, WhatItDoesNotHaveNeedsNoTakingAway) {
  StepLoop loop(Open());
  loop.Remove({5}, {3'600'000});
  EXPECT_THAT(loop.figures(), IsEmpty());
}

TEST_F(StepLoopTest, ItsEndIsTheirs) {
  scripts_[0].drained = false;
  scripts_[1].otherwise = Status::Ok();
  {
    StepLoop loop(Open());
    loop.Add({0, 1});
    EXPECT_TRUE(Becomes(1, [](const Script &s) { return s.stepped >= 1; }));
  }
  EXPECT_EQ(Now(0).living, 0);
  EXPECT_EQ(Now(1).living, 0);
}

}  // namespace
}  // namespace sightline
