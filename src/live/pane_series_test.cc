#include "live/pane_series.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

class PaneSeriesTest : public testing::Test {
 protected:
  const PaneGrid grid_{{10'000}, {60'000}};
  ItemNames names_;
  PaneSeries series_{grid_, &names_};

  void Add(int64_t pane, const char* item, int64_t count) {
    series_.Add({pane * 10'000}, series_.SlotOf(names_.Intern(item)), count);
  }
  int64_t Sum(int64_t first_pane, int64_t next_pane, const char* item) {
    std::vector<int64_t> sums;
    series_.AddTo({{first_pane * 10'000}, {next_pane * 10'000}}, 1, sums);
    for (Slot slot = 0; slot < sums.size(); ++slot) {
      if (series_.item(slot) != nullptr && series_.name(slot) == item) return sums[slot];
    }
    return 0;
  }
};

TEST_F(PaneSeriesTest, RangesOverBlocksAndBefore1970) {
  for (int64_t pane = -200; pane < 200; ++pane) Add(pane, pane % 2 == 0 ? "even" : "odd", 1);
  EXPECT_EQ(Sum(-200, 200, "even"), 200);
  EXPECT_EQ(Sum(-3, 4, "odd"), 4);
  EXPECT_EQ(Sum(-61, 61, "odd"), 61);
  EXPECT_EQ(Sum(5, 5, "odd"), 0);
  EXPECT_EQ(Sum(1'000, 2'000, "odd"), 0);
}

TEST_F(PaneSeriesTest, PackedIsTheSameAndTakesCorrections) {
  for (int64_t pane = 0; pane < 240; ++pane) Add(pane, "a", pane + 1);
  const int64_t open = series_.memory_bytes();
  series_.Maintain({.packed_until = {180 * 10'000}});
  EXPECT_LT(series_.memory_bytes(), open);
  EXPECT_EQ(series_.generation(), 0u);
  EXPECT_EQ(Sum(0, 240, "a"), 240 * 241 / 2);
  EXPECT_EQ(Sum(7, 9, "a"), 8 + 9);
  Add(7, "a", 1'000);
  Add(7, "b", 3);
  EXPECT_EQ(Sum(7, 9, "a"), 1'017);
  EXPECT_EQ(Sum(0, 60, "b"), 3);
  series_.Maintain({.packed_until = {240 * 10'000}});
  EXPECT_EQ(Sum(7, 8, "a"), 1'008);
  EXPECT_EQ(Sum(0, 240, "b"), 3);
}

TEST_F(PaneSeriesTest, FoldedKeepsSumsOfWindows) {
  for (int64_t pane = 0; pane < 120; ++pane) Add(pane, "a", 1);
  series_.Maintain({.packed_until = EventTime{600'000}, .downsampled_until = EventTime{600'000}});
  EXPECT_EQ(series_.generation(), 1u);
  EXPECT_EQ(Sum(6, 12, "a"), 6);
  EXPECT_EQ(Sum(0, 61, "a"), 61);
  Add(8, "a", 10);
  EXPECT_EQ(Sum(6, 12, "a"), 16);
  EXPECT_EQ(Sum(12, 18, "a"), 6);
}

TEST_F(PaneSeriesTest, SlotsOfGoneItemsAreUsedAgain) {
  Add(0, "a", 1);
  Add(0, "b", 1);
  Add(60, "b", 1);
  series_.Maintain(
      {.packed_until = {600'000}, .downsampled_until = {600'000}, .dropped_until = {600'000}});
  EXPECT_EQ(names_.size(), 1);
  EXPECT_GT(series_.generation(), 0u);
  Add(60, "c", 5);
  EXPECT_EQ(series_.slots(), 2u);
  EXPECT_EQ(Sum(0, 120, "a"), 0);
  EXPECT_EQ(Sum(0, 120, "b"), 1);
  EXPECT_EQ(Sum(0, 120, "c"), 5);
}

}  // namespace
}  // namespace sightline
