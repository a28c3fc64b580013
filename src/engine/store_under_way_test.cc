// A task whose store answers later: nothing waits but what needs the answer.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "engine/store_worker.h"
#include "engine/test_ports.h"

namespace sightline {
namespace {

// Calls wait until the test makes them.
class HeldWorker final : public StoreWorker {
 public:
  HeldWorker(TestWorld* world, bool* hold) : StoreWorker(nullptr), store_(world), hold_(*hold) {}
  // Makes the calls that wait, in their order.
  void Release() {
    while (!jobs_.empty()) {
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      job(store_);
    }
  }
  size_t waiting() const { return jobs_.size(); }

 private:
  void Submit(Job job) override {
    jobs_.push_back(std::move(job));
    if (!hold_) Release();
  }

  TestStore store_;
  const bool& hold_;
  std::deque<Job> jobs_;
};

class StoreUnderWayTest : public testing::Test {
 protected:
  void Start(TaskOptions options) {
    auto worker = std::make_unique<HeldWorker>(&world_, &hold_);
    worker_ = worker.get();
    task_ = MakeTestTask(&world_, std::move(options), {"test", 0}, std::move(worker));
  }
  void StepUntilIdle() {
    for (int i = 0; i < 10'000; ++i) {
      const Result<StepResult> done = task_->Step(now_ms_);
      if (done.ok() && done.value() == StepResult::kIdle) return;
      ASSERT_TRUE(done.ok() || done.status().code() == StatusCode::kRetry)
          << done.status().message();
    }
    FAIL() << "it is never idle";
  }
  // Two records are counted, and the checkpoint of them waits for the store.
  void StartAndPutCheckpoint(TaskOptions options) {
    Start(std::move(options));
    world_.Append(2);
    StepUntilIdle();
    hold_ = true;
    now_ms_ = 1'000;
    StepUntilIdle();
  }
  // Nothing is due: the task does not ask again and again whether the answer is there.
  void ExpectAsleep() { EXPECT_GT(task_->NextDue(now_ms_), now_ms_); }

  TestWorld world_{2};
  bool hold_ = false;
  HeldWorker* worker_ = nullptr;  // the task's
  std::unique_ptr<PartitionTask> task_;
  int64_t now_ms_ = 0;
};

TEST_F(StoreUnderWayTest, TheStartGoesOnWhenTheStoreHasAnswered) {
  hold_ = true;
  world_.Append(3);
  Start({});
  for (int asked = 0; asked < 3; ++asked) {  // the newest entry, the claim, the checkpoint
    StepUntilIdle();
    EXPECT_FALSE(task_->Snapshot().running);
    EXPECT_EQ(worker_->waiting(), 1u);
    EXPECT_EQ(task_->NextDue(now_ms_), PartitionTask::kNever);
    worker_->Release();
    EXPECT_EQ(task_->NextDue(now_ms_), now_ms_);
  }
  StepUntilIdle();
  EXPECT_EQ(world_.Sink(0).counted, 3);
}

TEST_F(StoreUnderWayTest, ASlowPutDelaysOnlyTheNextCheckpoint) {
  StartAndPutCheckpoint({.checkpoint_interval_ms = 1'000});
  ASSERT_EQ(worker_->waiting(), 1u);
  for (; now_ms_ < 5'000; now_ms_ += 100) {
    world_.Append();
    StepUntilIdle();
    EXPECT_EQ(world_.Sink(1).counted, std::ssize(world_.records));
    EXPECT_EQ(worker_->waiting(), 1u);
    ExpectAsleep();
  }
  EXPECT_EQ(task_->Snapshot().checkpointed, Offset{0});
  EXPECT_EQ(task_->Snapshot().checkpoint_trouble, "");
  EXPECT_EQ(task_->Snapshot().checkpoint_failures, 0);
  worker_->Release();
  EXPECT_EQ(task_->NextDue(now_ms_), now_ms_);
  StepUntilIdle();
  // What was read meanwhile belongs to the next one.
  EXPECT_EQ(task_->Snapshot().checkpointed, Offset{2});
  now_ms_ += 1'000;
  StepUntilIdle();
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(task_->Snapshot().checkpointed, Offset{42});
}

TEST_F(StoreUnderWayTest, ADrainPutsWhatTheCheckpointUnderWayLacks) {
  StartAndPutCheckpoint({.checkpoint_interval_ms = 1'000});
  world_.Append();
  StepUntilIdle();
  task_->Drain();
  StepUntilIdle();
  worker_->Release();
  StepUntilIdle();
  EXPECT_FALSE(task_->drained());
  worker_->Release();
  StepUntilIdle();
  EXPECT_TRUE(task_->drained());
  EXPECT_EQ(task_->Snapshot().checkpointed, Offset{3});
}

// A put that fails has not lost what it was for.
TEST_F(StoreUnderWayTest, APutThatFailsIsTriedAgain) {
  StartAndPutCheckpoint({.checkpoint_interval_ms = 1'000});
  world_.put_answer = Status::Retry("the server is away");
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(task_->Snapshot().checkpoint_trouble, "the server is away");
  world_.put_answer = std::nullopt;
  now_ms_ = task_->NextDue(now_ms_);
  StepUntilIdle();
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(task_->Snapshot().checkpointed, Offset{2});
  EXPECT_EQ(task_->Snapshot().checkpoint_trouble, "");
}

TEST_F(StoreUnderWayTest, AGapIsNotInACheckpointThatWasBegunBeforeIt) {
  StartAndPutCheckpoint({.on_gap = OnGap::kCount, .checkpoint_interval_ms = 1'000});
  world_.Append(8);
  world_.earliest = {5};
  StepUntilIdle();
  EXPECT_EQ(task_->position(), Offset{5});
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(task_->Snapshot().checkpointed, Offset{2});
  EXPECT_EQ(task_->position(), Offset{5});  // nothing is read behind the gap yet
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(task_->Snapshot().checkpointed, Offset{5});
  EXPECT_EQ(task_->position(), Offset{10});
}

// One sink is away, and the list is full.
class SpillUnderWayTest : public StoreUnderWayTest {
 protected:
  void SetUp() override {
    Start({.segment_batches = 1,
           .merged_rows_max = 1,
           .sealed_max = 4,
           .spill_bytes_max = 1 << 20,
           .spill_after_ms = 0,
           .checkpoint_interval_ms = 1'000'000});
    StepUntilIdle();
    world_.Answer(0, Status::Retry("away"));
    hold_ = true;
    while (!task_->Snapshot().full && worker_->waiting() == 0 && world_.records.size() < 100) {
      world_.Append();
      now_ms_ += 10;
      StepUntilIdle();
    }
  }
};

TEST_F(SpillUnderWayTest, TheSegmentsStayInMemoryUntilTheirRunIsDurable) {
  ASSERT_EQ(worker_->waiting(), 1u);
  EXPECT_EQ(task_->Snapshot().spilled_runs, 0);
  EXPECT_EQ(task_->Snapshot().sealed_segments, 4);
  ExpectAsleep();
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(task_->Snapshot().spilled_runs, 1);
  EXPECT_EQ(world_.runs.size(), 1u);
}

TEST_F(SpillUnderWayTest, ARunWhoseSegmentsWereTakenMeanwhileIsGarbage) {
  ASSERT_EQ(worker_->waiting(), 1u);
  world_.Answer(0, std::nullopt);
  now_ms_ += 10'000;
  StepUntilIdle();
  EXPECT_EQ(world_.Sink(0).counted, std::ssize(world_.records));
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(task_->Snapshot().spilled_runs, 0);
  EXPECT_EQ(world_.runs.size(), 1u);
  hold_ = false;
  now_ms_ += 1'000'000;  // the next checkpoint does not name it
  StepUntilIdle();
  EXPECT_EQ(world_.runs.size(), 0u);
}

TEST_F(SpillUnderWayTest, ASinkWaitsForItsRunAndTheOthersGoOn) {
  worker_->Release();
  StepUntilIdle();
  ASSERT_EQ(task_->Snapshot().spilled_runs, 1);
  world_.Answer(0, std::nullopt);
  now_ms_ += 10'000;
  world_.Append();
  StepUntilIdle();
  EXPECT_EQ(worker_->waiting(), 1u);
  EXPECT_EQ(world_.Sink(0).counted, 0);
  EXPECT_EQ(world_.Sink(1).counted, std::ssize(world_.records));
  ExpectAsleep();
  hold_ = false;
  worker_->Release();
  StepUntilIdle();
  EXPECT_EQ(world_.Sink(0).counted, std::ssize(world_.records));
}

}  // namespace
}  // namespace sightline
