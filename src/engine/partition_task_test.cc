#include "engine/partition_task.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "engine/checkpoint.h"
#include "engine/test_ports.h"

namespace sightline {
namespace {

using testing::HasSubstr;

// Steps until the task is idle, also over kRetry. Returns any other failure.
Status StepUntilIdle(PartitionTask& task, int64_t now_ms) {
  for (int i = 0; i < 10'000; ++i) {
    const Result<StepResult> done = task.Step(now_ms);
    if (!done.ok() && done.status().code() != StatusCode::kRetry) return done.status();
    if (done.ok() && done.value() == StepResult::kIdle) return Status::Ok();
  }
  return Status::Stop("it is never idle");
}

TEST(PartitionTaskTest, ALowRateStreamReachesTheSinkWithTheNextStep) {
  TestWorld world;
  auto task = MakeTestTask(&world, {});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(task->committed(0), kNoneCommitted);
  world.Append();
  ASSERT_EQ(task->Step(1).value(), StepResult::kWorked);  // reads
  ASSERT_EQ(task->Step(1).value(), StepResult::kWorked);  // commits
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

// Both ways, also for what waits already.
TEST(PartitionTaskTest, ASinkMaySayAnotherInterval) {
  TestWorld world;
  int64_t interval_ms = 500;
  auto task =
      MakeTestTask(&world, {.sinks = {{.name = "lake", .together = true, .interval_ms_now = [&] {
                                         return interval_ms;
                                       }}}});
  ASSERT_TRUE(StepUntilIdle(*task, 1'100).ok());
  world.Append();
  ASSERT_TRUE(StepUntilIdle(*task, 1'100).ok());
  EXPECT_EQ(task->NextDue(1'100), 1'500);
  interval_ms = 2'000;
  EXPECT_EQ(task->NextDue(1'100), 2'000);
  ASSERT_TRUE(StepUntilIdle(*task, 1'999).ok());
  EXPECT_EQ(world.Sink(0).counted, 0);
  interval_ms = 300;
  ASSERT_TRUE(StepUntilIdle(*task, 1'999).ok());
  EXPECT_EQ(world.Sink(0).counted, 1);
}

TEST(PartitionTaskTest, ASinkThatFailsHoldsUpNeitherTheOthersNorTheCheckpoint) {
  TestWorld world(2);
  world.Answer(0, Status::Retry("down"));
  auto task = MakeTestTask(&world, {.checkpoint_interval_ms = 100});
  int64_t retries = 0;
  for (int64_t now_ms = 0; now_ms < 3'000; ++now_ms) {
    if (now_ms % 10 == 0) world.Append();
    for (;;) {
      const Result<StepResult> done = task->Step(now_ms);
      retries += !done.ok();
      if (done.ok() && done.value() == StepResult::kIdle) break;
    }
    ASSERT_EQ(world.Sink(1).counted, now_ms / 10 + 1);
  }
  EXPECT_LT(world.Sink(0).calls, 20);  // 1 ms, doubled up to 1 s
  EXPECT_EQ(world.Sink(0).calls, retries);
  EXPECT_GT(task->Snapshot().checkpoints, 20);
  world.Answer(0, std::nullopt);
  task->RetryNow();
  ASSERT_TRUE(StepUntilIdle(*task, 3'000).ok());
  EXPECT_EQ(world.Sink(0).counted, 300);
}

// The file system of the data folder turns read-only, and is writable again later.
TEST(PartitionTaskTest, AStoreThatAPersonMustCorrectStopsNothing) {
  TestWorld world(2);
  world.put_answer = Status::Stop("read-only file system");
  world.Answer(0, Status::Stop("read-only file system"));
  auto task = MakeTestTask(&world, {.checkpoint_interval_ms = 100});
  for (int64_t now_ms = 0; now_ms < 10'000; now_ms += 10) {
    world.Append();
    ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  }
  EXPECT_EQ(world.Sink(1).counted, 1'000);
  EXPECT_GE(task->Snapshot().checkpoint_failures, 10);
  EXPECT_EQ(task->Snapshot().checkpoint_trouble, "read-only file system");
  world.put_answer.reset();
  world.Answer(0, std::nullopt);
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task, 20'000).ok());
  EXPECT_TRUE(task->drained());
  EXPECT_EQ(world.Sink(0).counted, 1'000);
  EXPECT_EQ(task->Snapshot().checkpoint_failures, 0);
  EXPECT_EQ(task->Snapshot().checkpoint_trouble, "");
}

// A full disk is not tried at the rate of the events.
TEST(PartitionTaskTest, AnAppendDoesNotHurryWhatWaitsForAnotherPort) {
  TestWorld world(2);
  world.Answer(0, Status::Retry("no space"));
  world.put_answer = Status::Retry("no space");
  auto task = MakeTestTask(&world, {.checkpoint_interval_ms = 100});
  int64_t retries = 0;
  for (int64_t now_ms = 0; now_ms < 60'000; ++now_ms) {
    if (now_ms % 10 == 0) {
      world.Append();
      task->RetryNow(PartitionTask::kSourcePort);
    }
    for (;;) {
      const Result<StepResult> done = task->Step(now_ms);
      retries += !done.ok();
      if (done.ok() && done.value() == StepResult::kIdle) break;
    }
  }
  EXPECT_EQ(world.Sink(1).counted, 6'000);
  EXPECT_LT(world.Sink(0).calls, 35);  // 1 ms, doubled up to 5 s
  EXPECT_LT(retries, 70);
  const int64_t calls = world.Sink(0).calls;
  task->RetryNow(PartitionTask::SinkPort(1));
  ASSERT_TRUE(StepUntilIdle(*task, 60'000).ok());
  EXPECT_EQ(world.Sink(0).calls, calls);
  task->RetryNow(PartitionTask::SinkPort(0));
  ASSERT_TRUE(StepUntilIdle(*task, 60'000).ok());
  EXPECT_EQ(world.Sink(0).calls, calls + 1);
}

TEST(BackoffTest, GrowsToItsLimitAndDiffersFromSeedToSeed) {
  Backoff one(Backoff::kStoreDelayMsMax, 1), other(Backoff::kStoreDelayMsMax, 2);
  int64_t differ = 0;
  for (int64_t delay_ms = 1; delay_ms < 100'000; delay_ms *= 2) {
    one.Failed(0);
    other.Failed(0);
    const int64_t most = std::min(delay_ms, Backoff::kStoreDelayMsMax);
    for (const Backoff& backoff : {one, other}) {
      EXPECT_LE(backoff.until_ms(), most);
      EXPECT_GE(backoff.until_ms(), most - most / 4);
    }
    differ += one.until_ms() != other.until_ms();
  }
  EXPECT_GT(differ, 8);
  one.Succeeded();
  EXPECT_FALSE(one.Waiting(0));
  one.Failed(0);
  EXPECT_EQ(one.until_ms(), 1);
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

TEST(PartitionTaskTest, WhatIsReplayedIsNoNewConflict) {
  TestWorld world(2);
  const auto conflict = [&](int64_t id) {
    world.records.push_back(
        fmt::format(R"({{"geographical_location_oid":1,"video_camera_oid":3,"detection_oid":{},)"
                    R"("item_name":"cup","timestamp_detected":{}}})",
                    id, 1'000 * id));
  };
  world.Append(10);
  conflict(5);
  const TaskOptions options = {.sinks = {{"fast", 0}, {"slow", 60'000}}, .records_max = 4};
  auto task = MakeTestTask(&world, options);
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(task->Snapshot().id_conflicts.pairs().size(), 1);
  conflict(6);
  task = MakeTestTask(&world, options);  // a crash without a checkpoint
  while (task->position() < Offset{10}) ASSERT_TRUE(task->Step(1).ok());
  ASSERT_TRUE(StepUntilIdle(*task, 1).ok());
  ASSERT_EQ(task->Snapshot().id_conflicts.pairs().size(), 1);
  EXPECT_EQ(task->Snapshot().id_conflicts.pairs()[0].count, 1) << "that of 6, which is new";
}

TEST(PartitionTaskTest, ASinkWithNothingBeginsWhereCountingBegan) {
  TestWorld world(2);
  world.Append(10);
  world.Answer(1, Status::Retry("down"));
  auto task = MakeTestTask(&world, {.checkpoint_interval_ms = 0});
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  world.Answer(1, std::nullopt);
  task = MakeTestTask(&world, {});  // the checkpoint still has everything for the sink
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
  world.store.clear();  // as the message says: the sink is filled from the earliest offset
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
  EXPECT_THAT(status.message(),
              HasSubstr("retention has removed the offsets [4, 5) of partition 0 "
                        "of 'test' before they were counted: 1 offsets are lost"));
}

TEST(PartitionTaskTest, IsDegradedWhereRetentionHasCutTheMemory) {
  TestWorld world;
  world.Append(8'000);  // a second apart; the memory is an hour
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
  task->RetryNow();
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(world.Sink(0).counted, 7);
  EXPECT_EQ(world.Sink(0).committed, Offset{7});
  EXPECT_EQ(task->Snapshot().sinks[0].commits, 2);
}

// ---- spilling ---------------------------------------------------------------------------------

// 10 records per segment, 5 segments in memory, about 2 per run.
TaskOptions SpillOptions() {
  return {.records_max = 10,
          .segment_batches = 1,
          .merged_rows_max = 1,
          .sealed_max = 5,
          .spill_bytes_max = 1 << 20,
          .run_bytes_max = 3'000,
          .spill_after_ms = 100};
}

TEST(PartitionTaskTest, AFullListIsSpilledAndReadingGoesOn) {
  TestWorld world(2);
  world.Append(1'000);
  world.Answer(1, Status::Retry("away"));
  auto task = MakeTestTask(&world, SpillOptions());
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  EXPECT_EQ(task->position(), Offset{50});  // not at once: the sink may be back in a moment
  EXPECT_EQ(task->NextDue(0), 1);           // the sink is asked again
  ASSERT_TRUE(StepUntilIdle(*task, 99).ok());
  EXPECT_EQ(task->Snapshot().spills, 0);
  ASSERT_TRUE(StepUntilIdle(*task, 100).ok());
  EXPECT_EQ(task->position(), Offset{1'000});
  EXPECT_EQ(world.Sink(0).counted, 1'000);
  const TaskStatus away = task->Snapshot();
  EXPECT_GT(away.spilled_runs, 10);
  EXPECT_EQ(away.spilled_runs, std::ssize(world.runs));
  EXPECT_LE(away.sealed_segments, 5);
  EXPECT_GT(away.spilled_bytes, 0);
  EXPECT_LE(away.runs_read, 1);  // read once: what was offered before it was spilled
  const int64_t calls = world.Sink(1).calls;
  for (int64_t now_ms = 2'000; now_ms < 10'000; now_ms += 1'500)
    ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  EXPECT_GT(world.Sink(1).calls, calls);
  EXPECT_LE(task->Snapshot().runs_read, 1);  // the offer is kept

  world.Answer(1, std::nullopt);
  task->RetryNow();
  ASSERT_TRUE(StepUntilIdle(*task, 20'000).ok());
  EXPECT_EQ(world.Sink(1).counted, 1'000);
  EXPECT_EQ(task->Snapshot().spilled_runs, 0);
  EXPECT_LE(task->Snapshot().runs_read, away.spilled_runs + 1);  // each once
  EXPECT_TRUE(task->caught_up());
}

TEST(PartitionTaskTest, TheFastSinksNeverReadARun) {
  TestWorld world(2);
  world.Answer(1, Status::Retry("away"));
  TaskOptions options = SpillOptions();
  options.spill_after_ms = 0;
  options.sinks = {{"fast", 30}, {"slow", 0}};
  auto task = MakeTestTask(&world, options);
  for (int64_t now_ms = 0; now_ms < 3'000; now_ms += 10) {
    world.Append(10);
    ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  }
  EXPECT_GT(task->Snapshot().spilled_runs, 10);
  EXPECT_LE(task->Snapshot().runs_read, 1);
  EXPECT_GE(world.Sink(0).counted, 2'960);
}

TEST(PartitionTaskTest, AtTheBoundOfTheSpillReadingStops) {
  TestWorld world;
  world.Append(10'000);
  world.Answer(0, Status::Retry("away"));
  TaskOptions options = SpillOptions();
  options.spill_bytes_max = 2'000;
  auto task = MakeTestTask(&world, options);
  for (const int64_t now_ms : {0, 100, 200}) ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  const TaskStatus full = task->Snapshot();
  EXPECT_GE(full.spilled_bytes, 2'000);
  EXPECT_LT(full.position, Offset{10'000});
  EXPECT_GT(full.held_up, 0);
  world.Answer(0, std::nullopt);
  task->RetryNow();
  ASSERT_TRUE(StepUntilIdle(*task, 300).ok());
  EXPECT_EQ(world.Sink(0).counted, 10'000);
}

TEST(PartitionTaskTest, WhatCannotBeSpilledStaysInMemory) {
  TestWorld world(2);
  world.Append(1'000);
  world.Answer(1, Status::Retry("away"));
  world.put_run_answer = Status::Retry("no space");
  auto task = MakeTestTask(&world, SpillOptions());
  for (int64_t now_ms = 0; now_ms < 5'000; now_ms += 100)
    ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  EXPECT_EQ(task->position(), Offset{50});
  EXPECT_EQ(task->Snapshot().spilled_runs, 0);
  EXPECT_EQ(task->Snapshot().sealed_segments, 5);
  world.put_run_answer.reset();
  for (int64_t now_ms = 5'000; now_ms < 12'000; now_ms += 100)
    ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  EXPECT_EQ(task->position(), Offset{1'000});
}

TEST(PartitionTaskTest, ACheckpointNamesTheRunsAndTheNextTaskGoesOnWithThem) {
  TestWorld world(2);
  world.Append(1'000);
  world.Answer(1, Status::Retry("away"));
  TaskOptions options = SpillOptions();
  options.spill_after_ms = 0;
  options.checkpoint_interval_ms = 1'000;
  auto task = MakeTestTask(&world, options);
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  ASSERT_TRUE(StepUntilIdle(*task, 1'000).ok());
  const TaskStatus before = task->Snapshot();
  EXPECT_EQ(before.checkpointed, Offset{1'000});
  const Result<Checkpoint> checkpoint = ReadCheckpoint(*world.store.rbegin()->second);
  EXPECT_EQ(std::ssize(checkpoint.value().runs), before.spilled_runs);
  EXPECT_EQ(std::ssize(checkpoint.value().sealed), before.sealed_segments);

  world.Append(1'000);
  ASSERT_TRUE(StepUntilIdle(*task, 1'001).ok());
  EXPECT_GT(task->Snapshot().spilled_runs, before.spilled_runs);
  task = MakeTestTask(&world, options);  // a crash: the newer runs are garbage
  ASSERT_TRUE(task->Step(2'000).ok());   // claims
  while (!task->Snapshot().running) ASSERT_TRUE(task->Step(2'000).ok());
  EXPECT_EQ(task->Snapshot().spilled_runs, before.spilled_runs);
  EXPECT_EQ(task->position(), Offset{1'000});
  ASSERT_TRUE(StepUntilIdle(*task, 2'000).ok());
  EXPECT_EQ(task->position(), Offset{2'000});
  EXPECT_EQ(std::ssize(world.runs), task->Snapshot().spilled_runs);  // the garbage is gone

  world.Answer(1, std::nullopt);
  task->RetryNow();
  ASSERT_TRUE(StepUntilIdle(*task, 2'500).ok());
  EXPECT_EQ(world.Sink(1).counted, 2'000);
  EXPECT_EQ(task->Snapshot().spilled_runs, 0);
  // The newest checkpoint still names some of them: they go with the next one.
  EXPECT_FALSE(world.runs.empty());
  ASSERT_TRUE(StepUntilIdle(*task, 3'500).ok());
  ASSERT_TRUE(StepUntilIdle(*task, 4'500).ok());
  EXPECT_TRUE(world.runs.empty());
  EXPECT_EQ(task->NextDue(4'500), PartitionTask::kNever);
}

TEST(PartitionTaskTest, ALostRunStopsAndAZombieThatMissesOneIsBuiltAgain) {
  TestWorld world;
  world.Append(100);
  world.Answer(0, Status::Retry("away"));
  TaskOptions options = SpillOptions();
  options.spill_after_ms = 0;
  auto task = MakeTestTask(&world, options);
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  auto zombie = std::move(task);
  task = MakeTestTask(&world, options);
  ASSERT_TRUE(
      StepUntilIdle(*task, 0).ok());  // there is no checkpoint: what the zombie had put is garbage
  world.Append(100);
  EXPECT_EQ(StepUntilIdle(*zombie, 10'000).code(), StatusCode::kRebuild);

  world.runs.clear();
  world.Answer(0, std::nullopt);
  task->RetryNow();
  const Status stop = StepUntilIdle(*task, 10'000);
  EXPECT_EQ(stop.code(), StatusCode::kStop);
  EXPECT_THAT(stop.message(), HasSubstr("run is missing"));
}

// What the sink lacks arrives in several offers, one right after the other, each taken whole, from
// memory and from runs. A task that starts in between continues there.
TEST(PartitionTaskTest, ASinkIsNotOfferedMoreThanItTakes) {
  constexpr int64_t kRowsMax = 40;
  for (const size_t in_memory : {5, 200}) {
    TestWorld world(2);
    world.Append(1'000);
    world.Answer(1, Status::Retry("away"));
    TaskOptions options = SpillOptions();
    options.sinks = {{.name = "any"}, {.name = "small", .offer_rows_max = kRowsMax}};
    options.sealed_max = in_memory;
    auto task = MakeTestTask(&world, options);
    for (const int64_t now_ms : {0, 100, 10'000}) ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
    ASSERT_EQ(task->position(), Offset{1'000});
    EXPECT_EQ(task->Snapshot().spilled_runs > 0, in_memory == 5);
    world.Answer(1, std::nullopt);
    task->RetryNow();
    while (world.Sink(1).counted < 500) ASSERT_TRUE(task->Step(20'000).ok());
    ASSERT_LT(world.Sink(1).counted, 1'000);
    task = MakeTestTask(&world, options);
    ASSERT_TRUE(StepUntilIdle(*task, 20'000).ok());
    EXPECT_EQ(world.Sink(1).counted, 1'000);
    EXPECT_LE(world.Sink(1).rows_together, kRowsMax);
    if (in_memory == 200) {
      EXPECT_GT(world.Sink(1).rows_together, kRowsMax / 2);
    }
  }
}

// A sink that lacks little cannot empty the list: it keeps its pace while another sink is absent.
TEST(PartitionTaskTest, OnlyTheSinkThatFillsTheListIsHurried) {
  TestWorld world(2);
  world.Answer(1, Status::Retry("away"));
  auto task = MakeTestTask(
      &world, {.sinks = {{"paced", 1'000}, {"slow", 0}}, .merged_rows_max = 1, .sealed_max = 100});
  for (int64_t now_ms = 0; now_ms < 900; now_ms += 10) {
    world.Append();
    ASSERT_TRUE(StepUntilIdle(*task, now_ms).ok());
  }
  EXPECT_GT(task->Snapshot().sealed_segments, 50);
  EXPECT_EQ(world.Sink(0).calls, 1);  // when the sink lacked more than half of the bound
}

std::unique_ptr<PartitionTask> MakeTaskUntil(TestWorld* world, int64_t count_until) {
  PipelineSpec spec = TestSpec();
  spec.count_until = {count_until};
  TaskPorts ports{.source = std::make_unique<TestSource>(world),
                  .store = std::make_unique<StoreAtOnce>(std::make_unique<TestStore>(world))};
  ports.sinks.push_back(std::make_unique<TestSink>(world, 0));
  return std::make_unique<PartitionTask>(
      SourcePartition{"test", 0}, spec, TaskOptions{.sinks = {{.name = "sink"}}}, std::move(ports));
}

TEST(PartitionTaskTest, AnotherRangeBeginsWithACheckpointOfItsOwn) {
  TestWorld world;
  auto task = MakeTestTask(&world, {});
  world.Append(5);  // seconds 0 to 4
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task, 1).ok());
  ASSERT_TRUE(task->drained());
  world.Append(5);
  task = MakeTaskUntil(&world, 8'000);
  world.put_answer = Status::Retry("the disk is full");
  ASSERT_TRUE(StepUntilIdle(*task, 2).ok());
  EXPECT_EQ(task->position(), Offset{5}) << "nothing is read before the checkpoint is there";
  EXPECT_GT(task->NextDue(2), 2);
  world.put_answer.reset();
  ASSERT_TRUE(StepUntilIdle(*task, 60'000).ok());
  EXPECT_EQ(world.Sink(0).counted, 8);
  // Killed now, it continues: the checkpoint is of this range.
  world.Append(5);
  task = MakeTaskUntil(&world, 8'000);
  ASSERT_TRUE(StepUntilIdle(*task, 60'001).ok());
  EXPECT_EQ(world.Sink(0).counted, 8);
  // The range cannot go back: seconds 8 to 14 would count now.
  task->Drain();
  ASSERT_TRUE(StepUntilIdle(*task, 60'002).ok());
  task = MakeTestTask(&world, {});
  EXPECT_THAT(StepUntilIdle(*task, 60'003).message(), HasSubstr("count_until"));
}

TEST(PartitionTaskTest, AnotherRangeIsRefusedBehindTheCheckpoint) {
  TestWorld world;
  auto task = MakeTestTask(&world, {.checkpoint_interval_ms = 0});
  world.Append(5);
  ASSERT_TRUE(StepUntilIdle(*task, 0).ok());
  task = MakeTestTask(&world, {.checkpoint_interval_ms = 60'000});
  world.Append(5);
  ASSERT_TRUE(StepUntilIdle(*task, 1).ok());  // committed, and killed before the next checkpoint
  task = MakeTaskUntil(&world, 8'000);
  EXPECT_THAT(StepUntilIdle(*task, 2).message(), HasSubstr("SIGTERM"));
}

}  // namespace
}  // namespace sightline
