// kill -9 at any moment: what the embedded log has acknowledged is there exactly once, and in
// order.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log_clock.h"
#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/testing.h"
#include "model/segment.h"

namespace sightline::conformance {
namespace {

using embedded_log_testing::Pack;
using embedded_log_testing::ReadAll;
using embedded_log_testing::TemporaryDirectory;

constexpr int32_t kPartitions = 2;
constexpr int kRounds = 20;
constexpr char kTopic[] = "raw";
const SourcePartition kCounted{"elsewhere", 0};

// What the child reports: an append to a partition, or (kPartitions) the counts, each up to `next`.
struct Acknowledged {
  int64_t what = 0;
  int64_t next = 0;
};

std::unique_ptr<EmbeddedLog> Open(const std::string& dir, LogClock& clock) {
  Result<std::unique_ptr<EmbeddedLog>> opened = EmbeddedLog::Open(
      {.dir = dir, .partitions = kPartitions, .clock = &clock, .row_bytes_max = 20'000});
  if (!opened.ok()) {
    ADD_FAILURE() << opened.status().message();
    return nullptr;
  }
  return std::move(opened).value();
}

// A record contains its own offset.
std::string RecordAt(int64_t offset) {
  std::string record = fmt::format("{} ", offset);
  record.resize(static_cast<size_t>(offset * 7919 % 3000) + 12, 'x');
  return record;
}

Segment CountsOf(int64_t first, int64_t next) {
  Segment segment{.first = {first}, .next = {next}};
  segment.counts.push_back({.key = {.pane_start = {0}, .item = "bus"}, .count = next - first});
  Ledger ledger{.received = next - first};
  ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = next - first;
  segment.ledger.push_back({.ledger = ledger});
  return segment;
}

// Runs in the child: appends and commits until it is killed.
[[noreturn]] void AppendForEver(const std::string& dir, int pipe) {
  const SystemClock machine;
  LogClock clock(machine);
  const auto log = Open(dir, clock);
  if (log == nullptr) _exit(1);
  const auto tell = [pipe](Acknowledged acknowledged) {
    if (write(pipe, &acknowledged, sizeof acknowledged) != sizeof acknowledged) _exit(2);
  };
  std::array<int64_t, kPartitions> next{};
  for (const auto& partition : log->stats().partitions)
    if (partition.topic == kTopic)
      next[static_cast<size_t>(partition.partition)] = partition.next.v;

  const auto sink = log->OpenCountsSink({});
  while (sink->Fence(kCounted, {1}).code() == StatusCode::kRetry) std::this_thread::yield();
  int64_t counted = std::max<int64_t>(0, sink->Committed(kCounted).value().v);
  std::atomic<int> under_way = 0;
  for (int turn = 0;; ++turn) {
    // Bounds the files of all rounds: a child that is killed later only commits.
    if (turn > 300) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::vector<PackedRecords> packed;
    for (int32_t partition = 0; partition < kPartitions; ++partition) {
      std::vector<std::string> records;
      for (int i = 0; i <= partition; ++i)
        records.push_back(RecordAt(next[static_cast<size_t>(partition)]++));
      packed.push_back(Pack(partition, records));
    }
    ++under_way;
    const bool taken = log->Append(kTopic, std::move(packed), [&, next](const Status& status) {
      if (!status.ok()) _exit(3);
      for (size_t partition = 0; partition < kPartitions; ++partition)
        tell({static_cast<int64_t>(partition), next[partition]});
      --under_way;
    });
    if (!taken) _exit(4);
    const std::vector<Segment> segments = {CountsOf(counted, counted + 3)};
    const Result<Offset> committed = sink->Commit(kCounted, segments);
    if (committed.ok()) tell({kPartitions, counted = committed.value().v});
    if (!committed.ok() && committed.status().code() != StatusCode::kRetry) _exit(5);
    while (under_way > 30) std::this_thread::yield();
  }
}

// Runs a child for a while, and returns what it reported, by Acknowledged::what.
std::array<int64_t, kPartitions + 1> RunAndKill(const std::string& dir,
                                                std::chrono::microseconds life) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    AppendForEver(dir, ends[1]);
  }
  close(ends[1]);
  std::array<int64_t, kPartitions + 1> next{};
  const auto take = [&] {
    Acknowledged acknowledged;
    if (read(ends[0], &acknowledged, sizeof acknowledged) != sizeof acknowledged) return false;
    next[static_cast<size_t>(acknowledged.what)] = acknowledged.next;
    return true;
  };
  EXPECT_TRUE(take()) << "the child ended by itself";
  // The child dies at a random moment of its work. The pipe is read meanwhile; otherwise the child
  // would wait for it.
  std::thread killer([child, life] {
    std::this_thread::sleep_for(life);
    kill(child, SIGKILL);
  });
  while (take()) {
  }
  killer.join();
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "exit " << WEXITSTATUS(status);
  return next;
}

TEST(Crash, WhatWasAcknowledgedIsThereOnceAndInOrder) {
  const TemporaryDirectory directory;
  std::mt19937 random(20'251'122);
  for (int round = 0; round < kRounds; ++round) {
    const std::chrono::microseconds life(random() % 30'000);
    const auto acknowledged = RunAndKill(directory.path(), life);
    const SystemClock machine;
    LogClock clock(machine);
    const auto log = Open(directory.path(), clock);
    ASSERT_NE(log, nullptr);
    for (int32_t partition = 0; partition < kPartitions; ++partition) {
      const auto source = log->OpenSource(kTopic, partition);
      const auto records = ReadAll(*source, {0}, 1000);
      ASSERT_TRUE(records.ok()) << records.status().message();
      ASSERT_GE(static_cast<int64_t>(records.value().size()),
                acknowledged[static_cast<size_t>(partition)]);
      for (size_t i = 0; i < records.value().size(); ++i)
        ASSERT_EQ(records.value()[i].payload, RecordAt(static_cast<int64_t>(i))) << round;
    }
    const auto progress = log->Progress(kCounted);
    ASSERT_TRUE(progress.ok()) << progress.status().message();
    if (!progress.value().has_value()) continue;
    const int64_t next = progress.value()->next.v;
    EXPECT_GE(next, acknowledged[kPartitions]);
    EXPECT_EQ(progress.value()->ledger.received, next);
    int64_t counted = 0;
    ASSERT_TRUE(log->ForEachGroup(kCounted, kBeforeAllTime,
                                  [&](Segment&& group) {
                                    for (const CountRow& row : group.counts) counted += row.count;
                                  })
                    .ok());
    EXPECT_EQ(counted, next);
  }
}

}  // namespace
}  // namespace sightline::conformance
