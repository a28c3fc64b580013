#include "connectors/kafka/counts_fold.h"

#include <gtest/gtest.h>

#include <random>

namespace sightline::kafka {
namespace {

const Provenance kProvenance{{"kafka:c/raw/id", 2}, "spec"};
constexpr Millis kPane{10'000};

std::string Total(int64_t first, int64_t next, int64_t pane, std::string item, int64_t count) {
  const CountRow row{.key = {.pane_start = {pane}, .location = {7}, .item = std::move(item)},
                     .count = count,
                     .first_detected = {pane},
                     .last_detected = {pane}};
  return CountValueJson(kProvenance, {first}, {next}, row, kPane, nullptr);
}

std::string Done(int64_t next, int64_t counted) {
  Progress progress{.next = {next}, .watermark = {next * 10}, .ledger = {}};
  progress.ledger.received = progress.ledger.outcomes[0] = counted;
  return ProgressValueJson(kProvenance, progress);
}

// (item, added) of the commit that `value` ends; empty if it ends none.
std::map<std::string, int64_t> Take(CountsFold& fold, const std::string& value) {
  const auto taken = fold.Take(value);
  EXPECT_TRUE(taken.ok()) << taken.status().message();
  std::map<std::string, int64_t> added;
  if (taken.ok() && taken.value())
    for (const CountRow& row : taken.value()->segment.counts) added[row.key.item] += row.count;
  return added;
}

using Added = std::map<std::string, int64_t>;

TEST(CountsFold, ARunningTotalAddsWhatItIsMore) {
  CountsFold fold;
  EXPECT_EQ(Take(fold, Total(0, 5, 0, "bus", 3)), Added());
  EXPECT_EQ(Take(fold, Total(0, 5, 0, "car", 1)), Added());
  EXPECT_EQ(Take(fold, Done(5, 4)), (Added{{"bus", 3}, {"car", 1}}));
  Take(fold, Total(0, 9, 0, "bus", 8));
  EXPECT_EQ(Take(fold, Done(9, 9)), (Added{{"bus", 5}}));
}

TEST(CountsFold, ACommitHasEachKeyOnceAndInOrder) {
  CountsFold fold;
  for (const auto& [next, item, count] :
       {std::tuple{5, "car", 1}, {5, "bus", 2}, {7, "car", 4}, {7, "ant", 3}, {8, "car", 9}})
    Take(fold, Total(0, next, 0, item, count));
  Take(fold, Total(8, 9, 0, "bus", 1));  // a group that began meanwhile
  const auto commit = fold.Take(Done(9, 15)).value();
  ASSERT_TRUE(commit.has_value());
  std::vector<std::pair<std::string, int64_t>> rows;
  for (const CountRow& row : commit->segment.counts) rows.emplace_back(row.key.item, row.count);
  EXPECT_EQ(rows,
            (std::vector<std::pair<std::string, int64_t>>{{"ant", 3}, {"bus", 3}, {"car", 9}}));
}

TEST(CountsFold, ANewGroupBeginsAtNothing) {
  CountsFold fold;
  Take(fold, Total(0, 5, 0, "bus", 3));
  Take(fold, Done(5, 3));
  Take(fold, Total(5, 7, 0, "bus", 2));
  EXPECT_EQ(Take(fold, Done(7, 5)), (Added{{"bus", 2}}));
}

TEST(CountsFold, WhatIsReadAgainAddsNothing) {
  CountsFold fold;
  const std::vector<std::string> records = {Total(0, 5, 0, "bus", 3), Done(5, 3),
                                            Total(5, 7, 0, "bus", 2), Done(7, 5)};
  int64_t sum = 0;
  for (int again = 0; again < 3; ++again)
    for (const std::string& record : records)
      for (const auto& [item, added] : Take(fold, record)) sum += added;
  EXPECT_EQ(sum, 5);
}

TEST(CountsFold, ACommitSaysItsOffsetsItsLedgerAndItsWatermark) {
  CountsFold fold;
  Take(fold, Done(5, 3));
  const auto commit = fold.Take(Done(9, 10)).value();
  ASSERT_TRUE(commit.has_value());
  EXPECT_EQ(commit->from, kProvenance.from);
  EXPECT_EQ(commit->segment.first, Offset{5});
  EXPECT_EQ(commit->segment.next, Offset{9});
  EXPECT_EQ(commit->segment.watermark, Watermark{90});
  EXPECT_EQ(commit->segment.Total().received, 7);
  EXPECT_TRUE(commit->segment.Total().Balanced());
}

// Compaction keeps of every key the newest record, and the order.
TEST(CountsFold, ACompactedTopicGivesTheSameSums) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::pair<std::string, std::string>> records;  // key, value
    std::map<std::pair<int64_t, std::string>, int64_t> totals;
    std::map<std::string, int64_t> truth;
    int64_t first = 0, next = 0, counted = 0;
    for (int commit = 0; commit < 20; ++commit) {
      next += 1 + static_cast<int64_t>(random() % 5);
      for (const char* item : {"bus", "car", "dog"}) {
        if (random() % 2 == 0) continue;
        const auto more = static_cast<int64_t>(1 + random() % 4);
        truth[item] += more;
        counted += more;
        const int64_t total = totals[{first, item}] += more;
        records.emplace_back(std::string(item) + std::to_string(first),
                             Total(first, next, 0, item, total));
      }
      records.emplace_back("progress", Done(next, counted));
      if (random() % 4 == 0) first = next;
    }
    std::map<std::string, size_t> newest;
    const size_t compacted = random() % records.size();
    for (size_t i = 0; i < records.size(); ++i) newest[records[i].first] = i;
    CountsFold fold;
    std::map<std::string, int64_t> sum;
    for (size_t i = 0; i < records.size(); ++i) {
      if (i < compacted && newest[records[i].first] != i) continue;
      for (const auto& [item, added] : Take(fold, records[i].second)) sum[item] += added;
    }
    EXPECT_EQ(sum, truth) << round;
  }
}

TEST(CountsFold, WhatIsNoneOfOursIsRefusedAndChangesNothing) {
  CountsFold fold;
  Take(fold, Total(0, 5, 0, "bus", 3));
  for (const std::string& bad : {std::string(), std::string("{}"), std::string("[1]"),
                                 std::string(R"({"schema_version":1})"),
                                 std::string(R"({"schema_version":2,"source":"s"})")})
    EXPECT_EQ(fold.Take(bad).status().code(), StatusCode::kStop) << bad;
  EXPECT_EQ(Take(fold, Done(5, 3)), (Added{{"bus", 3}}));
}

}  // namespace
}  // namespace sightline::kafka
