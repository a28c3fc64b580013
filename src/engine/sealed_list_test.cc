#include "engine/sealed_list.h"

#include <gtest/gtest.h>

#include <utility>

namespace sightline {
namespace {

// A segment with `rows` rows of its own, so that merging never makes fewer.
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
  EXPECT_EQ(list.all()[0].next, Offset{3});
  EXPECT_EQ(list.all()[1].next, Offset{8});
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
  EXPECT_EQ(merges, 4'096 - std::ssize(list.all()));
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
  for (const Segment& segment : rows.all()) EXPECT_LE(segment.rows(), 10u);
  for (const Segment& segment : bytes.all())
    EXPECT_LE(SegmentBytes(segment), 3 * SegmentBytes(Make(0, 1, 1)));
  EXPECT_LT(rows.size(), 30u);
  EXPECT_LT(bytes.size(), 30u);
}

}  // namespace
}  // namespace sightline
