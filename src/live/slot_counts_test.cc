#include "live/slot_counts.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sightline {
namespace {

std::map<Slot, int64_t> SumOf(const SlotCounts& counts) {
  std::map<Slot, int64_t> sum;
  for (const auto& cell : counts.cells()) sum[cell.slot] += cell.count;
  return sum;
}

TEST(SlotCounts, ManySharingTheirHintsAddUp) {
  std::mt19937 random(7);
  SlotHints hints(100);
  std::array<SlotCounts, 5> all;
  std::array<std::map<Slot, int64_t>, 5> expected;
  for (int i = 0; i < 20'000; ++i) {
    const size_t which = random() % all.size();
    const Slot slot = random() % hints.size();
    const int64_t count = random() % 5 + 1;
    all[which].Add(slot, count, hints);
    expected[which][slot] += count;
    if (random() % 1'000 == 0) all[which].CompactSorted(hints);
    EXPECT_LE(all[which].cells().size(), 2 * hints.size() + 17);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(SumOf(all[i]), expected[i]);
    all[i].CompactSorted(hints);
    EXPECT_EQ(SumOf(all[i]), expected[i]);
    EXPECT_EQ(all[i].cells().size(), expected[i].size());
  }
}

TEST(SlotCounts, CountsBeyond32BitsAreExact) {
  SlotHints hints(2);
  SlotCounts counts;
  counts.Add(1, 3'000'000'000, hints);
  counts.Add(1, 3'000'000'000, hints);
  counts.Add(1, 20'000'000'000, hints);
  counts.Add(0, 1, hints);
  EXPECT_EQ(SumOf(counts), (std::map<Slot, int64_t>{{0, 1}, {1, 26'000'000'000}}));
  counts.CompactSorted(hints);
  EXPECT_EQ(SumOf(counts), (std::map<Slot, int64_t>{{0, 1}, {1, 26'000'000'000}}));
}

TEST(SlotCounts, ZeroAddsNothing) {
  SlotHints hints(1);
  SlotCounts counts;
  counts.Add(0, 0, hints);
  EXPECT_TRUE(counts.cells().empty());
}

}  // namespace
}  // namespace sightline
