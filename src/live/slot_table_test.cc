#include "live/slot_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sightline {
namespace {

TEST(SlotTable, AsAMap) {
  for (uint32_t spread : {1u, 7u, 1u << 20}) {
    std::mt19937 random(spread);
    SlotTable table;
    std::map<uint32_t, Slot> expected;
    EXPECT_EQ(table.Find(0), std::nullopt);
    for (Slot slot = 0; slot < 3'000; ++slot) {
      const uint32_t item = (random() % 5'000) * spread;
      if (expected.emplace(item, slot).second) table.Insert(item, slot);
    }
    for (uint32_t i = 0; i < 5'000; ++i) {
      const auto it = expected.find(i * spread);
      EXPECT_EQ(table.Find(i * spread),
                it == expected.end() ? std::nullopt : std::optional(it->second));
    }
    EXPECT_LE(table.memory_bytes(), 8 * 8'192);
  }
}

}  // namespace
}  // namespace sightline
