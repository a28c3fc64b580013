#include "engine/partition_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/test_ports.h"

namespace sightline {
namespace {

using testing::HasSubstr;

// Steps until the task is idle; a kRetry is not the end. Anything else is returned.
Status StepUntilIdle(PartitionTask& task, int64_t now_ms) {
  for (int i = 0; i < 10'000; ++i) {
    const Result<Progress> done = task.Step(now_ms);
    if (!done.ok() && done.status().code() != StatusCode::kRetry) return done.status();
    if (done.ok() && done.value() == Progress::kIdle) return Status::Ok();
  }
  return Status::Stop("it is never idle");
}

TEST(PartitionTaskTest, ALowRateStreamReachesTheSinkWithTheNextStep) {
  TestWorld world;
  auto task = MakeTestTask(&world, {});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(task->committed(0), kNoneCommitted);
  world.Append();
  ASSERT_EQ(task->Step(1).value(), Progress::kWorked);  // reads
  ASSERT_EQ(task->Step(1).value(), Progress::kWorked);  // commits
  EXPECT_EQ(world.Sink(0).counted, 1);
  EXPECT_EQ(task->committed(0), Offset{1});
  EXPECT_TRUE(task->caught_up());
  EXPECT_TRUE(task->Snapshot().at_end);
}

TEST(PartitionTaskTest, EachSinkHasItsPaceAndIsDueInTime) {
  TestWorld world(2);
  auto task = MakeTestTask(&world, {.sinks = {{"fast", 0}, {"slow", 500}}});
  for (int64_t now_ms = 0; now_ms < 400; ++now_ms) {
    world.Append();
    ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
    EXPECT_EQ(world.Sink(0).counted, now_ms + 1);
    EXPECT_EQ(task->NextDue(now_ms), 500);
  }
  EXPECT_EQ(world.Sink(1).calls, 0);
  EXPECT_LT(task->Snapshot().sealed_segments, 20);  // merged
  ASSERT_TRUE(StepUntilIdle(*task, 500).ok());
  EXPECT_EQ(world.Sink(1).counted, 400);
  EXPECT_EQ(world.Sink(1).calls, 1);
}

TEST(PartitionTaskTest, TasksThatCommitTogetherMeetAtMultiplesOfTheInterval) {
  TestWorld world;
  auto task = MakeTestTask(&world, {.sinks = {{"lake", 500, true}}});
  for (const int64_t since_ms : {1'000, 1'620, 2'499}) {
    ASSERT_TRUE(StepUntilIdle(*task, since_ms).ok());
    world.Append();
    ASSERT_TRUE(StepUntilIdle(*task, since_ms).ok());
    const int64_t due_ms = (since_ms / 500 + 1) * 500;
    EXPECT_EQ(task->NextDue(since_ms), due_ms);
    const int64_t calls = world.Sink(0).calls;
    ASSERT_TRUE(StepUntilIdle(*task, due_ms - 1).ok());
    EXPECT_EQ(world.Sink(0).calls, calls);
    ASSERT_TRUE(StepUntilIdle(*task, due_ms).ok());
    EXPECT_EQ(world.Sink(0).calls, calls + 1);
  }
  world.Append();
  ASSERT_TRUE(StepUntilIdle(*task, 3'001).ok());
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task, 3'002).ok());
  EXPECT_EQ(world.Sink(0).counted, 4);
  EXPECT_TRUE(task->drained());
}

TEST(PartitionTaskTest, ASinkThatFailsHoldsUpNeitherTheOthersNorTheCheckpoint) {
  TestWorld world(2);
  world.Answer(0, Status::Retry("down"));
  auto task = MakeTestTask(&world, {.checkpoint_interval_ms = 100});
  int64_t retries = 0;
  for (int64_t now_ms = 0; now_ms < 3'000; ++now_ms) {
    if (now_ms % 10 == 0) world.Append();
    for (;;) {
      const Result<Progress> done = task->Step(now_ms);
      retries += !done.ok();
      if (done.ok() && done.value() == Progress::kIdle) break;
    }
    ASSERT_EQ(world.Sink(1).counted, now_ms / 10 + 1);
  }
  EXPECT_LT(world.Sink(0).calls, 20);  // 1 ms, doubled up to 1 s
  EXPECT_EQ(world.Sink(0).calls, retries);
  EXPECT_GT(task->Snapshot().checkpoints, 20);
  world.Answer(0, std::nullopt);
  task->Hurry();
  ASSERT_TRUE(StepUntilIdle(*task, 3'000).ok());
  EXPECT_EQ(world.Sink(0).counted, 300);
}

TEST(PartitionTaskTest, AFullListStopsReading) {
  TestWorld world;
  world.Append(1'000);
  world.Answer(0, Status::Retry("down"));
  auto task = MakeTestTask(
      &world, {.records_max = 10, .segment_batches = 1, .merged_rows_max = 1, .sealed_max = 5});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(task->position(), Offset{50});
  EXPECT_GT(task->Snapshot().held_up, 0);
  world.Answer(0, std::nullopt);
  for (int64_t now_ms = 1; now_ms < 1'000; ++now_ms) ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  EXPECT_EQ(world.Sink(0).counted, 1'000);
}

TEST(PartitionTaskTest, CheckpointsFollowVolumeAndTime) {
  TestWorld world;
  auto task = MakeTestTask(&world, {.records_max = 10,
                                    .checkpoint_records_min = 100,
                                    .checkpoint_records_max = 1'000,
                                    .checkpoint_interval_ms = 60'000});
  world.Append(1'000);
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(task->Snapshot().checkpoints, 7);  // 100 200 300 400 500 630 800: by a quarter of ids
  world.Append(1);
  ASSERT_TRUE(StepUntilIdle(*task, 59'999).ok());
  EXPECT_EQ(task->Snapshot().checkpoints, 7);
  EXPECT_EQ(task->NextDue(59'999), 60'000);
  ASSERT_TRUE(StepUntilIdle(*task, 60'000).ok());
  EXPECT_EQ(task->Snapshot().checkpoints, 8);
  ASSERT_TRUE(StepUntilIdle(*task, 600'000).ok());
  EXPECT_EQ(task->Snapshot().checkpoints, 8);  // nothing was read
  EXPECT_EQ(task->NextDue(600'000), PartitionTask::kNever);
}

TEST(PartitionTaskTest, DrainCommitsEverythingAndTheNextTaskReadsNothingAgain) {
  TestWorld world(2);
  world.Append(100);
  const TaskOptions options = {.sinks = {{"fast", 0}, {"slow", 60'000}}, .records_max = 30};
  auto task = MakeTestTask(&world, options);
  while (task->position() < Offset{60}) ASSERT_TRUE(task->Step(0).ok());
  task->Drain();
  EXPECT_FALSE(task->drained());
  ASSERT_TRUE(StepUntilIdle(*task, 1).ok());
  EXPECT_TRUE(task->drained());
  EXPECT_EQ(task->NextDue(1), PartitionTask::kNever);
  EXPECT_EQ(world.Sink(0).counted, 60);
  EXPECT_EQ(world.Sink(1).counted, 60);
  task = MakeTestTask(&world, options);
  ASSERT_TRUE(StepUntilIdle(*task, 2).ok());
  EXPECT_EQ(task->Snapshot().records, 40);
  EXPECT_EQ(world.Sink(0).counted, 100);
}

TEST(PartitionTaskTest, ASinkWithNothingBeginsWhereCountingBegan) {
  TestWorld world(2);
  world.Append(10);
  world.Answer(1, Status::Retry("down"));
  auto task = MakeTestTask(&world, {.checkpoint_interval_ms = 0});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  world.Answer(1, std::nullopt);
  task = MakeTestTask(&world, {});  // the checkpoint still holds everything for it
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(world.Sink(1).counted, 10);
}

TEST(PartitionTaskTest, ASinkThatIsNewBesideACheckpointStopsThePartition) {
  TestWorld world;
  world.Append(10);
  auto task = MakeTestTask(&world, {});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  world.sinks[0] = {};
  task = MakeTestTask(&world, {});
  const Status status = StepUntilIdle(*task, 0);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr("it has nothing of this partition"));
  world.store.clear();  // what the text says: it is filled from the earliest offset
  task = MakeTestTask(&world, {});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(world.Sink(0).counted, 10);
}

TEST(PartitionTaskTest, RetentionBeforeASinkWithoutCheckpointStops) {
  TestWorld world;
  world.Append(10);
  world.sinks[0].committed = {4};
  world.earliest = {5};
  auto task = MakeTestTask(&world, {});
  const Status status = StepUntilIdle(*task, 0);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr("retention has passed offset 4"));
}

TEST(PartitionTaskTest, IsDegradedWhereRetentionHasCutTheMemory) {
  TestWorld world;
  world.Append(8'000);  // a second each; the memory is an hour
  world.sinks[0].committed = {1'500};
  world.earliest = {1'000};
  auto task = MakeTestTask(&world, {.records_max = 1'000});
  while (task->position() < Offset{2'000}) ASSERT_TRUE(task->Step(0).ok());
  EXPECT_TRUE(task->Snapshot().degraded);
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_FALSE(task->Snapshot().degraded);
}

TEST(PartitionTaskTest, ADamagedCheckpointStops) {
  TestWorld world;
  world.Append(10);
  auto task = MakeTestTask(&world, {});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  world.store.rbegin()->second->back() ^= 1;
  task = MakeTestTask(&world, {});
  const Status status = StepUntilIdle(*task, 0);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr("partition 0 of 'test': the checkpoint is damaged"));
}

TEST(PartitionTaskTest, AnOfferIsRepeatedUntilItIsAnswered) {
  TestWorld world;
  world.Append(3);
  world.Answer(0, Status::Retry("under way"));
  auto task = MakeTestTask(&world, {});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  world.Append(4);
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(task->Snapshot().sinks[0].offered, Offset{3});
  world.Answer(0, std::nullopt);
  task->Hurry();
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(world.Sink(0).counted, 7);
  EXPECT_EQ(world.Sink(0).committed, Offset{7});
  EXPECT_EQ(task->Snapshot().sinks[0].commits, 2);
}

}  // namespace
}  // namespace sightline
