// Tests of a task that retention has overtaken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/checkpoint.h"
#include "engine/partition_task.h"
#include "engine/test_ports.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TaskOptions Counting() { return {.on_gap = OnGap::kCount}; }

// Steps until the task is idle, also over kRetry. Returns any other failure.
Status StepUntilIdle(PartitionTask& task) {
  for (int i = 0; i < 10'000; ++i) {
    const Result<StepResult> done = task.Step(0);
    if (!done.ok() && done.status().code() != StatusCode::kRetry) return done.status();
    if (done.ok() && done.value() == StepResult::kIdle) return Status::Ok();
  }
  return Status::Stop("it is never idle");
}

// A task has counted `counted` of the records and was drained; then retention has removed some.
void CountThenRetain(TestWorld& world, int64_t counted, Offset earliest) {
  world.Append(counted);
  auto task = MakeTestTask(&world, {});
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  world.Append(10'000 - counted);
  world.earliest = earliest;
}

TEST(PartitionTaskGapTest, StopsAndSaysWhatIsLostAndHowToGoOn) {
  TestWorld world;
  CountThenRetain(world, 10, {30});
  auto task = MakeTestTask(&world, {});
  const Status status = StepUntilIdle(*task);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_EQ(
      status.message(),
      "retention has removed the offsets [10, 30) of partition 0 of 'test' before they were "
      "counted: 20 offsets are lost. To continue at 30 and record the loss in the ledger, start "
      "with engine.on_gap = count");
  EXPECT_EQ(task->Snapshot().gap, (Gap{{10}, {30}}));
  EXPECT_THAT(world.Sink(0).gaps, IsEmpty());
}

TEST(PartitionTaskGapTest, CountsWhatIsLostAndGoesOn) {
  TestWorld world(2);
  CountThenRetain(world, 10, {30});
  auto task = MakeTestTask(&world, Counting());
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  for (size_t sink : {0, 1}) {
    EXPECT_THAT(world.Sink(sink).gaps, ElementsAre(Gap{{10}, {30}}));
    EXPECT_EQ(world.Sink(sink).counted, 10'000 - 20);
    EXPECT_EQ(world.Sink(sink).committed, Offset{10'000});
  }
  EXPECT_EQ(task->Snapshot().lost, 20);
}

TEST(PartitionTaskGapTest, ReadsNothingBehindAGapThatNoCheckpointHas) {
  TestWorld world;
  CountThenRetain(world, 10, {30});
  world.put_answer = Status::Retry("no space");
  auto task = MakeTestTask(&world, Counting());
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_EQ(task->position(), Offset{30});
  EXPECT_EQ(task->Snapshot().gap, Gap{});  // not reported yet: after a crash it may be another gap
  world.put_answer.reset();
  task->RetryNow();
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_EQ(task->position(), Offset{10'000});
  EXPECT_EQ(ReadCheckpoint(*world.store.rbegin()->second).value().head.gap, (Gap{{10}, {30}}));
}

TEST(PartitionTaskGapTest, IsDegradedForAHorizonBehindIt) {
  TestWorld world;
  CountThenRetain(world, 10, {5'000});
  auto task = MakeTestTask(&world, {.on_gap = OnGap::kCount, .records_max = 100});
  while (task->position() < Offset{5'200}) ASSERT_TRUE(task->Step(0).ok());
  EXPECT_TRUE(task->Snapshot().degraded);
  EXPECT_EQ(task->Snapshot().gap, (Gap{{10}, {5'000}}));
  // The next task is degraded, too: a record is a second of event time, and the memory is an hour.
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  task = MakeTestTask(&world, {.on_gap = OnGap::kStop, .records_max = 100});
  while (task->position() < Offset{8'000}) ASSERT_TRUE(task->Step(0).ok());
  EXPECT_TRUE(task->Snapshot().degraded);
  EXPECT_EQ(task->Snapshot().gap, (Gap{{10}, {5'000}}));
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_FALSE(task->Snapshot().degraded);
  EXPECT_EQ(task->Snapshot().gap, Gap{});
}

TEST(PartitionTaskGapTest, IsCutWhereTheSinksStand) {
  TestWorld world(3);
  CountThenRetain(world, 10, {30});
  world.sinks[1].committed = {17};  // the sinks had gone on, but there was no further checkpoint
  world.sinks[2].committed = {40};
  auto task = MakeTestTask(&world, Counting());
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_THAT(world.Sink(0).gaps, ElementsAre(Gap{{10}, {17}}, Gap{{17}, {30}}));
  EXPECT_THAT(world.Sink(1).gaps, ElementsAre(Gap{{17}, {30}}));
  EXPECT_THAT(world.Sink(2).gaps, IsEmpty());
  for (size_t sink : {0, 1, 2}) EXPECT_EQ(world.Sink(sink).committed, Offset{10'000});
}

TEST(PartitionTaskGapTest, WithoutCheckpointItBeginsWhereTheSlowestSinkStands) {
  TestWorld world(2);
  world.Append(100);
  world.earliest = {50};
  world.sinks[0].committed = {20};
  world.sinks[1].committed = {60};
  auto task = MakeTestTask(&world, Counting());
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_THAT(world.Sink(0).gaps, ElementsAre(Gap{{20}, {50}}));
  EXPECT_EQ(world.Sink(0).counted, 50);
  EXPECT_THAT(world.Sink(1).gaps, IsEmpty());
  EXPECT_EQ(world.Sink(1).counted, 40);
}

TEST(PartitionTaskGapTest, OneThatNobodyHasBegunBeginsAtTheEarliest) {
  TestWorld world;
  world.Append(100);
  world.earliest = {50};
  auto task = MakeTestTask(&world, Counting());
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_THAT(world.Sink(0).gaps, IsEmpty());
  EXPECT_EQ(world.Sink(0).counted, 50);
  EXPECT_FALSE(task->Snapshot().degraded);
}

TEST(PartitionTaskGapTest, ARunningTaskLosesOnlyWhatItHasNotRead) {
  TestWorld world(2);
  world.Append(100);
  auto task =
      MakeTestTask(&world, {.sinks = {{"fast"}, {"slow", 1'000'000}}, .on_gap = OnGap::kCount});
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  world.Append(100);
  world.earliest = {150};
  task->RetryNow();
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_EQ(world.Sink(0).counted, 150);
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  for (size_t sink : {0, 1}) {
    EXPECT_THAT(world.Sink(sink).gaps, ElementsAre(Gap{{100}, {150}}));
    EXPECT_EQ(world.Sink(sink).counted, 150);
  }
}

TEST(PartitionTaskGapTest, ARunningTaskThatStopsKeepsWhatItHasRead) {
  TestWorld world;
  world.Append(100);
  auto task = MakeTestTask(&world, {.sinks = {{"slow", 1'000'000}}});
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  world.Append(100);
  world.earliest = {150};
  const Status status = StepUntilIdle(*task);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr("the offsets [100, 150)"));
  // Told to count gaps, the next task loses no more than that.
  task = MakeTestTask(&world, Counting());
  ASSERT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_THAT(world.Sink(0).gaps, ElementsAre(Gap{{100}, {150}}));
  EXPECT_EQ(world.Sink(0).counted, 150);
}

TEST(PartitionTaskGapTest, AZombieNeitherStopsNorCounts) {
  for (const OnGap on_gap : {OnGap::kStop, OnGap::kCount}) {
    TestWorld world;
    world.Append(100);
    auto zombie = MakeTestTask(&world, {.on_gap = on_gap});
    ASSERT_TRUE(StepUntilIdle(*zombie).ok());
    auto owner = MakeTestTask(&world, {});
    world.Append(100);
    ASSERT_TRUE(StepUntilIdle(*owner).ok());
    owner->Drain();
    ASSERT_TRUE(StepUntilIdle(*owner).ok());
    world.earliest = {150};
    EXPECT_EQ(StepUntilIdle(*zombie).code(), StatusCode::kRebuild);
    EXPECT_EQ(zombie->Snapshot().gap.empty() || on_gap == OnGap::kStop, true);
    EXPECT_THAT(world.Sink(0).gaps, IsEmpty());
    EXPECT_EQ(world.Sink(0).counted, 200);
  }
}

// ---- sinks that are switched off and on again ---------------------------------------------------

TaskOptions Off(std::vector<std::string> sinks) { return {.sinks_off = std::move(sinks)}; }

// One life of a task: reads everything, and drains.
TaskStatus Live(TestWorld& world, const TaskOptions& options) {
  auto task = MakeTestTask(&world, options);
  EXPECT_TRUE(StepUntilIdle(*task).ok());
  task->Drain();
  EXPECT_TRUE(StepUntilIdle(*task).ok());
  EXPECT_TRUE(task->drained());
  return task->Snapshot();
}

TEST(PartitionTaskGapTest, ASinkThatIsOnAgainRecordsWhatItMissed) {
  TestWorld world(2);
  world.Append(10);
  Live(world, {});
  world.Append(20);
  Live(world, Off({"sink 1"}));
  EXPECT_EQ(ReadCheckpoint(*world.store.rbegin()->second).value().head.absent,
            std::vector<std::string>{"sink 1"});
  world.Append(30);
  const TaskStatus status = Live(world, {});
  EXPECT_EQ(status.sinks[1].missed, (Gap{{10}, {30}}));
  EXPECT_EQ(status.sinks[0].missed, Gap{});
  EXPECT_THAT(world.Sink(1).gaps, ElementsAre(Gap{{10}, {30}}));
  EXPECT_EQ(world.Sink(1).counted, 40);
  EXPECT_EQ(world.Sink(0).counted, 60);
  EXPECT_THAT(world.Sink(0).gaps, IsEmpty());
  // From now on, a loss of its data is a loss again.
  world.sinks[1].committed = {20};
  auto task = MakeTestTask(&world, {});
  EXPECT_EQ(StepUntilIdle(*task).code(), StatusCode::kStop);
}

TEST(PartitionTaskGapTest, ASinkThatIsSwitchedOnLaterLacksEverythingBefore) {
  TestWorld world(2);
  world.Append(10);
  Live(world, Off({"sink 1"}));
  world.Append(5);
  Live(world, {});
  EXPECT_THAT(world.Sink(1).gaps, ElementsAre(Gap{{0}, {10}}));
  EXPECT_EQ(world.Sink(1).counted, 5);
}

TEST(PartitionTaskGapTest, ASinkThatMayBeNewLacksEverythingBefore) {
  TestWorld world(2);
  world.Append(10);
  {
    // A life before the sink was thought of: no checkpoint names it.
    TestWorld one(1);
    one.Append(10);
    Live(one, {});
    world.store = one.store;
    world.sinks[0] = one.Sink(0);
  }
  world.Append(5);
  TaskOptions options;
  options.sinks = {{}, {.may_be_new = true}};
  world.Answer(1, Status::Retry("away"));
  options.checkpoint_records_min = options.checkpoint_records_max = 1;
  ASSERT_TRUE(StepUntilIdle(*MakeTestTask(&world, options)).ok());  // and a crash
  EXPECT_TRUE(ReadCheckpoint(*world.store.rbegin()->second).value().head.absent.empty());
  world.Answer(1, std::nullopt);
  Live(world, options);
  EXPECT_THAT(world.Sink(1).gaps, ElementsAre(Gap{{0}, {10}}));
  EXPECT_EQ(world.Sink(1).counted, 5);
  // Another sink that has nothing has lost its data.
  world.sinks[1] = {};
  options.sinks[1].may_be_new = false;
  EXPECT_EQ(StepUntilIdle(*MakeTestTask(&world, options)).code(), StatusCode::kStop);
}

TEST(PartitionTaskGapTest, ACheckpointGoesOnNamingASinkThatIsOff) {
  TestWorld world(2);
  world.Append(10);
  Live(world, Off({"sink 1"}));
  // The next process does not know that there ever was such a sink.
  TestWorld one(1);
  one.records = world.records;
  one.sinks[0] = world.Sink(0);
  one.store = world.store;
  one.Append(5);
  Live(one, {});
  EXPECT_EQ(ReadCheckpoint(*one.store.rbegin()->second).value().head.absent,
            std::vector<std::string>{"sink 1"});
}

TEST(PartitionTaskGapTest, ASinkThatWasOffTakesWhatTheListStillHasForIt) {
  TestWorld world(3);
  world.Append(10);
  Live(world, {});
  world.Answer(0, Status::Retry("down"));
  world.Append(20);
  {
    TaskOptions options = Off({"sink 1"});
    options.checkpoint_records_min = options.checkpoint_records_max = 1;
    auto task = MakeTestTask(&world, options);
    ASSERT_TRUE(StepUntilIdle(*task).ok());
    EXPECT_GT(task->Snapshot().checkpoints, 0);
  }
  world.Answer(0, std::nullopt);
  Live(world, {});
  for (size_t sink : {0, 1, 2}) {
    EXPECT_EQ(world.Sink(sink).counted, 30) << sink;
    EXPECT_THAT(world.Sink(sink).gaps, IsEmpty()) << sink;
  }
}

TEST(PartitionTaskGapTest, WhatASinkMissedSurvivesACrashBeforeItIsCommitted) {
  TestWorld world(2);
  world.Append(10);
  Live(world, {});
  world.Append(20);
  Live(world, Off({"sink 1"}));
  world.Answer(1, Status::Retry("the store is full"));
  for (int crash = 0; crash < 3; ++crash) {
    world.Append(10);
    TaskOptions options;
    options.checkpoint_records_min = options.checkpoint_records_max = 1;
    auto task = MakeTestTask(&world, options);
    ASSERT_TRUE(StepUntilIdle(*task).ok());
    EXPECT_GT(task->Snapshot().checkpoints, 0);
    EXPECT_FALSE(task->caught_up());
  }
  world.Answer(1, std::nullopt);
  Live(world, {});
  EXPECT_THAT(world.Sink(1).gaps, ElementsAre(Gap{{10}, {30}}));
  EXPECT_EQ(world.Sink(1).counted, 40);
}

// Two tables that are read as one: each gap is cut where the other table stands.
TEST(PartitionTaskGapTest, WhatSinksMissedIsCutWhereAnotherOneStands) {
  TestWorld world(3);
  world.Append(10);
  Live(world, {});
  world.Append(20);
  Live(world, Off({"sink 1", "sink 2"}));
  world.sinks[1].committed = {14};
  Live(world, {});
  EXPECT_THAT(world.Sink(1).gaps, ElementsAre(Gap{{14}, {30}}));
  EXPECT_THAT(world.Sink(2).gaps, ElementsAre(Gap{{10}, {14}}, Gap{{14}, {30}}));
}

}  // namespace
}  // namespace sightline
