#include "engine/sealed_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sightline {
namespace {

// A segment with `rows` rows that no other segment has, so that merging never makes fewer rows.
Segment Make(int64_t first, int64_t next, int64_t rows) {
  Segment segment{.first = {first}, .next = {next}};
  for (int64_t i = 0; i < rows; ++i)
    segment.counts.push_back({.key = {.pane_start = {1'000 * first + i}}, .count = 1});
  return segment;
}

TEST(SealedListTest, GivesWhatLiesBetweenTwoBoundaries) {
  SealedList list({});
  list.Add(Make(0, 5, 1));
  list.Add(Make(5, 7, 1));
  list.Add(Make(7, 9, 1));
  EXPECT_EQ(list.Between({5}, {9}).size(), 2u);
  EXPECT_EQ(list.Between({0}, {5}).size(), 1u);
  EXPECT_TRUE(list.Between({9}, {9}).empty());
  EXPECT_TRUE(list.IsBoundary({0}));
  EXPECT_TRUE(list.IsBoundary({7}));
  EXPECT_TRUE(list.IsBoundary({9}));
  EXPECT_FALSE(list.IsBoundary({6}));
  list.DropUntil({6});
  EXPECT_EQ(list.first(), Offset{5});
  list.DropUntil({9});
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.rows(), 0);
  EXPECT_EQ(list.bytes(), 0);
}

TEST(SealedListTest, MergesWhateverNoSinkStandsAt) {
  SealedList list({});
  for (int64_t i = 0; i < 8; ++i) list.Add(Make(i, i + 1, 4));
  const Offset kept[] = {{3}, {8}};
  EXPECT_EQ(list.Merge(kept), 6);
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list.in_memory()[0].next, Offset{3});
  EXPECT_EQ(list.in_memory()[1].next, Offset{8});
  EXPECT_EQ(list.rows(), 32);
}

TEST(SealedListTest, LeavesALargeOneAlonePreferringLogarithmicallyMany) {
  SealedList list({.rows_max = 1'000'000});
  int64_t merges = 0;
  for (int64_t i = 0; i < 4'096; ++i) {
    list.Add(Make(i, i + 1, 1));
    merges += list.Merge({});
    EXPECT_LE(list.size(), 13u);
  }
  EXPECT_EQ(list.rows(), 4'096);
  EXPECT_EQ(merges, 4'096 - std::ssize(list.in_memory()));
}

TEST(SealedListTest, StaysWithinTheLimits) {
  SealedList rows({.rows_max = 10});
  SealedList bytes({.bytes_max = 3 * SegmentBytes(Make(0, 1, 1))});
  for (int64_t i = 0; i < 30; ++i) {
    rows.Add(Make(i, i + 1, 4));
    rows.Merge({});
    bytes.Add(Make(i, i + 1, 1));
    bytes.Merge({});
  }
  for (const Segment& segment : rows.in_memory()) EXPECT_LE(segment.rows(), 10u);
  for (const Segment& segment : bytes.in_memory())
    EXPECT_LE(SegmentBytes(segment), 3 * SegmentBytes(Make(0, 1, 1)));
  EXPECT_LT(rows.size(), 30u);
  EXPECT_LT(bytes.size(), 30u);
}

TEST(SealedListTest, ItsOldestPartMayLieInRuns) {
  SealedList list({});
  for (int64_t i = 0; i < 6; ++i) list.Add(Make(10 * i, 10 * i + 10, 2));
  const int64_t weight = SegmentBytes(Make(0, 10, 2));
  EXPECT_EQ(list.Oldest(3 * weight, {60}).size(), 3u);
  EXPECT_EQ(list.Oldest(3 * weight, {25}).size(), 2u);
  EXPECT_EQ(list.Oldest(1, {60}).size(), 1u);  // at least one
  EXPECT_TRUE(list.Oldest(3 * weight, {9}).empty());
  for (int64_t number = 1; number <= 2; ++number) {
    const auto oldest = list.Oldest(2 * weight, {60});
    const std::string bytes = EncodeRun(oldest);
    list.Spill(DescribeRun({{7}, number}, oldest, std::ssize(bytes)));
  }
  EXPECT_EQ(list.runs().size(), 2u);
  EXPECT_EQ(list.size(), 2u);
  EXPECT_EQ(list.rows(), 4);
  EXPECT_EQ(list.bytes(), 2 * weight);
  EXPECT_EQ(list.first(), Offset{0});
  EXPECT_EQ(list.next(), Offset{60});
  for (const int64_t boundary : {0, 10, 20, 30, 40, 50, 60})
    EXPECT_TRUE(list.IsBoundary({boundary})) << boundary;
  for (const int64_t inside : {-1, 5, 19, 21, 45, 61}) EXPECT_FALSE(list.IsBoundary({inside}));
  EXPECT_EQ(list.RunAt({0})->id.number, 1);
  EXPECT_EQ(list.RunAt({10})->id.number, 1);
  EXPECT_EQ(list.RunAt({20})->id.number, 2);
  EXPECT_EQ(list.RunAt({40}), nullptr);
  EXPECT_EQ(list.RunAt({-1}), nullptr);
  EXPECT_EQ(list.Between({40}, {60}).size(), 2u);
  // A run stays until all of it is committed.
  list.DropUntil({30});
  ASSERT_EQ(list.runs().size(), 1u);
  EXPECT_EQ(list.first(), Offset{20});
  list.DropUntil({50});
  EXPECT_TRUE(list.runs().empty());
  EXPECT_EQ(list.spilled_bytes(), 0);
  EXPECT_EQ(list.first(), Offset{50});
  EXPECT_EQ(list.size(), 1u);
}

TEST(SealedListTest, MergingStopsAtARun) {
  SealedList list({});
  list.Add(Make(0, 10, 4));
  list.Spill(DescribeRun({{1}, 1}, list.in_memory(), 9));
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(list.next(), Offset{10});
  for (int64_t i = 1; i < 5; ++i) list.Add(Make(10 * i, 10 * i + 10, 4));
  EXPECT_EQ(list.Merge({}), 3);
  EXPECT_EQ(list.in_memory().front().first, Offset{10});
  EXPECT_TRUE(list.IsBoundary({10}));
}

TEST(SealedListTest, ExceedsLooksAtWhatASinkLacks) {
  SealedList list({});
  for (int64_t i = 0; i < 4; ++i) list.Add(Make(i, i + 1, 1));
  const int64_t weight = SegmentBytes(Make(0, 1, 1));
  EXPECT_TRUE(list.Exceeds({0}, 3, 100 * weight));
  EXPECT_FALSE(list.Exceeds({1}, 3, 100 * weight));
  EXPECT_TRUE(list.Exceeds({2}, 3, 2 * weight - 1));
  EXPECT_FALSE(list.Exceeds({2}, 3, 2 * weight));
  EXPECT_FALSE(list.Exceeds({4}, 0, 0));
}

TEST(SpilledRunTest, ReadsWhatWasWritten) {
  const std::vector<Segment> segments = {Make(0, 5, 3), Make(5, 9, 1), Make(9, 11, 2)};
  const std::string bytes = EncodeRun(segments);
  const SpilledRun run = DescribeRun({{3}, 1}, segments, std::ssize(bytes));
  EXPECT_EQ(run.rows, 6);
  const Result<std::vector<Segment>> read = DecodeRun(run, bytes);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), segments);
}

// The store finds damage. This test is about bytes of another run, or of another program.
TEST(SpilledRunTest, RefusesWhatItIsNot) {
  const std::vector<Segment> segments = {Make(0, 5, 3), Make(5, 9, 1)};
  const std::string bytes = EncodeRun(segments);
  const SpilledRun run = DescribeRun({{3}, 1}, segments, std::ssize(bytes));
  SpilledRun other = run;
  other.boundaries.front() = {4};
  EXPECT_EQ(DecodeRun(other, bytes).status().code(), StatusCode::kStop);
  other = run;
  other.boundaries.pop_back();
  EXPECT_EQ(DecodeRun(other, bytes).status().code(), StatusCode::kStop);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(DecodeRun(run, bytes.substr(0, size)).status().code(), StatusCode::kStop) << size;
  std::string newer = bytes;
  newer[4] = 2;
  EXPECT_THAT(DecodeRun(run, newer).status().message(), testing::HasSubstr("has version 2"));
}

}  // namespace
}  // namespace sightline
