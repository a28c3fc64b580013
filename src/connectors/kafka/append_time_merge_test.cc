#include "connectors/kafka/append_time_merge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

namespace sightline {
namespace {

constexpr Millis kHold{500};

TEST(AppendTimeMerge, TheOldestHasItsTurnUntilTheNextOldest) {
  AppendTimeMerge merge(3, kHold);
  merge.SetHead(0, {30});
  merge.SetHead(1, {10});
  EXPECT_FALSE(merge.Next(0)) << "nothing is known of the third";
  EXPECT_EQ(merge.awaited(), 2u);
  merge.SetHead(2, {20});
  const auto turn = merge.Next(0);
  ASSERT_TRUE(turn);
  EXPECT_EQ(turn->input, 1u);
  EXPECT_EQ(turn->until, AppendTime{20});
  EXPECT_FALSE(merge.awaited());
}

TEST(AppendTimeMerge, SilenceAtTheEndHoldsUpTheOthersForASmallTime) {
  AppendTimeMerge merge(2, kHold);
  merge.SetHead(0, {30});
  merge.SetEmpty(1, true, 1'000);
  EXPECT_FALSE(merge.Next(1'499));
  merge.SetEmpty(1, true, 1'400);  // still: the time runs from the first on
  EXPECT_TRUE(merge.Next(1'500));
  merge.SetEmpty(1, false, 1'600);  // there is more, and it does not come
  EXPECT_FALSE(merge.Next(100'000));
  merge.SetEmpty(1, true, 100'000);
  EXPECT_FALSE(merge.Next(100'499));
  EXPECT_TRUE(merge.Next(100'500));
}

TEST(AppendTimeMerge, WhatIsDoneHoldsUpNobody) {
  AppendTimeMerge merge(2, kHold);
  merge.SetHead(0, {30});
  merge.SetDone(1);
  ASSERT_TRUE(merge.Next(0));
  EXPECT_EQ(merge.Next(0)->until, AppendTime{INT64_MAX});
  EXPECT_FALSE(merge.done());
  merge.SetDone(0);
  EXPECT_FALSE(merge.Next(0));
  EXPECT_TRUE(merge.done());
}

// Partitions that are read ahead by bits, at random moments: as long as none is passed, what comes
// out is in the order of append time.
TEST(AppendTimeMerge, RandomReadingGivesTheOrderOfAppendTime) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const size_t n = 1 + random() % 6;
    std::vector<std::deque<int64_t>> logs(n), ahead(n);
    size_t all = 0;
    for (auto& log : logs) {
      int64_t time = 0;
      for (size_t i = random() % 40; i > 0; --i) log.push_back(time += random() % 5);
      all += log.size();
    }
    AppendTimeMerge merge(n, kHold);
    std::vector<int64_t> out;
    while (!merge.done()) {
      for (size_t i = 0; i < n; ++i) {
        if (!ahead[i].empty()) continue;
        for (size_t more = random() % 4; more > 0 && !logs[i].empty(); --more) {
          ahead[i].push_back(logs[i].front());
          logs[i].pop_front();
        }
        if (!ahead[i].empty()) {
          merge.SetHead(i, {ahead[i].front()});
        } else if (logs[i].empty()) {
          merge.SetDone(i);
        } else {
          merge.SetEmpty(i, false, 0);
        }
      }
      const auto turn = merge.Next(0);
      if (!turn) continue;
      auto& from = ahead[turn->input];
      for (size_t most = 1 + random() % 3; most > 0 && !from.empty(); --most) {
        if (from.front() > turn->until.v) break;
        out.push_back(from.front());
        from.pop_front();
      }
      if (!from.empty()) merge.SetHead(turn->input, {from.front()});
    }
    EXPECT_EQ(out.size(), all) << seed;
    EXPECT_TRUE(std::ranges::is_sorted(out)) << seed;
  }
}

}  // namespace
}  // namespace sightline
