#include "engine/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <thread>

#include "engine/test_ports.h"

namespace sightline {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

constexpr milliseconds kLong{20'000};  // only a broken runtime waits this long

// Partitions that each have a world of their own.
struct Partitions {
  std::deque<TestWorld> worlds;
  std::atomic<int> built = 0;
  TaskOptions options;

  explicit Partitions(int n) {
    for (int i = 0; i < n; ++i) worlds.emplace_back();
  }
  std::vector<SourcePartition> ids() const {
    std::vector<SourcePartition> ids;
    for (int32_t i = 0; i < std::ssize(worlds); ++i) ids.push_back({"test", i});
    return ids;
  }
  TaskFactory factory() {
    return [this](const SourcePartition& id) -> Result<std::unique_ptr<PartitionTask>> {
      ++built;
      return MakeTestTask(&worlds[static_cast<size_t>(id.partition)], options, id);
    };
  }
};

template <typename Condition>
bool WaitFor(Condition condition) {
  const auto deadline = steady_clock::now() + kLong;
  while (!condition()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

TEST(RuntimeTest, CountsManyPartitionsOnFewThreadsAndDrains) {
  Partitions partitions(7);
  for (TestWorld& world : partitions.worlds) world.Append(500);
  Runtime runtime(partitions.ids(), partitions.factory(), {.threads = 2});
  for (TestWorld& world : partitions.worlds) EXPECT_TRUE(world.WaitForCounted(0, 500, kLong));
  EXPECT_TRUE(runtime.Drain(kLong.count()));
  for (const PartitionHealth& partition : runtime.Snapshot()) {
    EXPECT_EQ(partition.health, TaskHealth::kDrained);
    EXPECT_EQ(partition.task.checkpointed, Offset{500});
  }
  EXPECT_EQ(partitions.built, 7);
}

TEST(RuntimeTest, NoWakeUpIsLost) {
  Partitions partitions(3);
  // A lost wake-up would sleep for this long, and the test would fail.
  Runtime runtime(partitions.ids(), partitions.factory(),
                  {.threads = 2, .sleep_ms_max = 10 * kLong.count()});
  for (int64_t i = 1; i <= 2'000; ++i) {
    for (int32_t p = 0; p < 3; ++p) {
      partitions.worlds[static_cast<size_t>(p)].Append();
      runtime.Wake({"test", p});
    }
    if (i % 3 != 0) continue;  // sometimes the task is busy, sometimes about to sleep, or asleep
    for (TestWorld& world : partitions.worlds) ASSERT_TRUE(world.WaitForCounted(0, i, kLong));
  }
}

TEST(RuntimeTest, WokenFromManyThreads) {
  Partitions partitions(1);
  Runtime runtime(partitions.ids(), partitions.factory(), {.sleep_ms_max = 10 * kLong.count()});
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1'000; ++i) {
        partitions.worlds[0].Append();
        runtime.Wake({"test", 0});
      }
    });
  threads.clear();
  EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 4'000, kLong));
  runtime.Wake({"unknown", 0});
}

TEST(RuntimeTest, BuildsAgainAfterKRebuild) {
  Partitions partitions(1);
  partitions.worlds[0].Append(10);
  partitions.worlds[0].Answer(0, Status::Rebuild("fenced"));
  Runtime runtime(partitions.ids(), partitions.factory(), {});
  ASSERT_TRUE(WaitFor([&] { return partitions.built > 3; }));
  EXPECT_THAT(runtime.Snapshot()[0].reason, HasSubstr("fenced"));
  EXPECT_GT(runtime.Snapshot()[0].rebuilds, 1);
  partitions.worlds[0].Answer(0, std::nullopt);
  EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 10, kLong));
}

TEST(RuntimeTest, APartitionThatStopsStopsAlone) {
  Partitions partitions(2);
  partitions.worlds[0].sinks[0].committed = {7};  // beyond the end
  partitions.worlds[1].Append(5);
  Runtime runtime(partitions.ids(), partitions.factory(), {.threads = 1});
  ASSERT_TRUE(WaitFor([&] { return runtime.Snapshot()[0].health == TaskHealth::kStopped; }));
  EXPECT_THAT(runtime.Snapshot()[0].reason, HasSubstr("committed offset 7"));
  EXPECT_TRUE(partitions.worlds[1].WaitForCounted(0, 5, kLong));
  partitions.worlds[1].Append(5);
  runtime.Wake({"test", 1});
  EXPECT_TRUE(partitions.worlds[1].WaitForCounted(0, 10, kLong));
  EXPECT_TRUE(runtime.Drain(kLong.count()));  // the other one is drained
  EXPECT_EQ(runtime.Snapshot()[0].health, TaskHealth::kStopped);
}

TEST(RuntimeTest, AFactoryThatFailsIsAskedAgain) {
  Partitions partitions(1);
  partitions.worlds[0].Append(3);
  std::atomic<int> asked = 0;
  Runtime runtime(partitions.ids(),
                  [&](const SourcePartition& id) -> Result<std::unique_ptr<PartitionTask>> {
                    if (++asked < 4) return Status::Retry("not there yet");
                    return partitions.factory()(id);
                  },
                  {});
  EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 3, kLong));
}

TEST(RuntimeTest, ARetryIsNotWaitedForByTheNeighbours) {
  Partitions partitions(2);
  partitions.worlds[0].Append(1);
  partitions.worlds[0].Answer(0, Status::Retry("down"));
  Runtime runtime(partitions.ids(), partitions.factory(),
                  {.threads = 1, .sleep_ms_max = 10 * kLong.count()});
  ASSERT_TRUE(WaitFor([&] { return partitions.worlds[0].Sink(0).calls > 8; }));  // > 128 ms apart
  const auto start = steady_clock::now();
  for (int64_t i = 1; i <= 50; ++i) {
    partitions.worlds[1].Append();
    runtime.Wake({"test", 1});
    ASSERT_TRUE(partitions.worlds[1].WaitForCounted(0, i, kLong));
  }
  EXPECT_LT(steady_clock::now() - start, kLong);
  partitions.worlds[0].Answer(0, std::nullopt);
  runtime.Wake({"test", 0}, PartitionTask::SinkPort(0));
  EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 1, kLong));
}

TEST(RuntimeTest, WakesByItselfForWhatIsDue) {
  Partitions partitions(1);
  partitions.options = {.sinks = {{"slow", 30}}};
  Runtime runtime(partitions.ids(), partitions.factory(), {.sleep_ms_max = 10 * kLong.count()});
  ASSERT_TRUE(WaitFor([&] { return runtime.Snapshot()[0].task.at_end; }));
  partitions.worlds[0].Append(2);
  runtime.Wake({"test", 0});
  EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 2, kLong));
}

TEST(RuntimeTest, PartitionsComeAndGo) {
  Partitions partitions(5);
  Runtime runtime({}, partitions.factory(), {.threads = 2});
  EXPECT_TRUE(runtime.Snapshot().empty());
  const std::vector<SourcePartition> ids = partitions.ids();
  for (const SourcePartition& id : ids) runtime.Add(id);
  runtime.Add(ids[0]);  // it is here already
  std::atomic<bool> stop = false;
  std::thread waker([&] {
    while (!stop)
      for (const SourcePartition& id : ids) runtime.Wake(id);
  });
  int64_t appended = 0;
  for (int round = 0; round < 60; ++round) {
    const SourcePartition& a = ids[static_cast<size_t>(round) % ids.size()];
    const SourcePartition& b = ids[static_cast<size_t>(round + 2) % ids.size()];
    for (TestWorld& world : partitions.worlds) world.Append(20);
    appended += 20;
    EXPECT_TRUE(runtime.Remove({a, b}, kLong.count()));
    EXPECT_EQ(runtime.Snapshot().size(), 3u);
    EXPECT_TRUE(runtime.Remove({a}, kLong.count()));  // it is gone already
    runtime.Add(b);
    runtime.Add(a);
  }
  for (TestWorld& world : partitions.worlds) EXPECT_TRUE(world.WaitForCounted(0, appended, kLong));
  stop = true;
  waker.join();
  EXPECT_TRUE(runtime.Drain(kLong.count()));
}

TEST(RuntimeTest, RemoveGivesUpAtItsDeadline) {
  Partitions partitions(2);
  for (TestWorld& world : partitions.worlds) world.Append(10);
  Runtime runtime(partitions.ids(), partitions.factory(), {.threads = 1});
  for (TestWorld& world : partitions.worlds) ASSERT_TRUE(world.WaitForCounted(0, 10, kLong));
  partitions.worlds[0].Answer(0, Status::Retry("the disk is full"));
  const int64_t calls = partitions.worlds[0].Sink(0).calls;
  partitions.worlds[0].Append(10);
  runtime.Wake({"test", 0});
  ASSERT_TRUE(WaitFor([&] { return partitions.worlds[0].Sink(0).calls > calls; }));
  EXPECT_FALSE(runtime.Remove({{"test", 0}}, 100));
  EXPECT_EQ(runtime.Snapshot().size(), 1u);
  partitions.worlds[0].Answer(0, std::nullopt);
  runtime.Add({"test", 0});
  EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 20, kLong));
}

// The store of the first partition does not answer, as a network file system that is gone does.
TEST(RuntimeTest, RemoveDoesNotWaitForAStoreThatDoesNotAnswer) {
  Partitions partitions(2);
  partitions.options.checkpoint_records_min = partitions.options.checkpoint_records_max = 1;
  std::atomic<bool> hangs = true;
  std::atomic<int> hanging = 0;
  partitions.worlds[0].on_put = [&] {
    ++hanging;
    while (hangs) std::this_thread::sleep_for(milliseconds(1));
  };
  for (TestWorld& world : partitions.worlds) world.Append(10);
  {
    Runtime runtime(partitions.ids(), partitions.factory(), {.threads = 2});
    ASSERT_TRUE(partitions.worlds[1].WaitForCounted(0, 10, kLong));
    ASSERT_TRUE(WaitFor([&] { return hanging > 0; }));
    const auto start = steady_clock::now();
    EXPECT_FALSE(runtime.Remove(partitions.ids(), 50));
    EXPECT_LT(steady_clock::now() - start, kLong);
    EXPECT_TRUE(runtime.Snapshot().empty());
    // Another owner counts meanwhile: the other thread, as the one that hangs is the busier one.
    partitions.worlds[1].Append(10);
    runtime.Add({"test", 1});
    EXPECT_TRUE(partitions.worlds[1].WaitForCounted(0, 20, kLong));
    partitions.worlds[0].on_put_done = true;
    runtime.Add({"test", 0});
    EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 10, kLong));
    hangs = false;  // the zombie's put ends now: it has lost the partition
    EXPECT_TRUE(WaitFor([&] { return partitions.built >= 4; }));
    partitions.worlds[0].Append(10);
    runtime.Wake({"test", 0});
    EXPECT_TRUE(partitions.worlds[0].WaitForCounted(0, 20, kLong));
  }
  EXPECT_EQ(partitions.worlds[0].Sink(0).counted, 20);
}

TEST(RuntimeTest, DrainGivesUpAtItsDeadline) {
  Partitions partitions(1);
  partitions.worlds[0].Append(1);
  partitions.worlds[0].Answer(0, Status::Retry("down"));
  Runtime runtime(partitions.ids(), partitions.factory(), {});
  ASSERT_TRUE(WaitFor([&] { return partitions.worlds[0].Sink(0).calls > 0; }));
  EXPECT_FALSE(runtime.Drain(20));
}

}  // namespace
}  // namespace sightline
