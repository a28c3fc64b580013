#include "live/item_names.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

TEST(ItemNames, OncePerTextAndGoneWithTheLastHolder) {
  ItemNames names;
  ItemName* const bus = names.Intern("bus");
  names.Hold(bus);
  names.Hold(bus);
  const std::string copy = "bus";
  EXPECT_EQ(names.Intern(copy), bus);
  const std::string long_text(256, 'x');
  ItemName* const other = names.Intern(long_text);
  names.Hold(other);
  EXPECT_EQ(names.size(), 2);
  EXPECT_GT(names.memory_bytes(), 256);
  names.Release(bus);
  EXPECT_EQ(names.Intern("bus"), bus);
  EXPECT_NE(bus->id, other->id);
  names.Release(bus);
  names.Release(other);
  EXPECT_EQ(names.size(), 0);
  EXPECT_EQ(names.memory_bytes(), 0);
  for (const char* text : {"a", "b"}) names.Hold(names.Intern(text));
  EXPECT_EQ(names.ids(), 2u);  // used again
}

}  // namespace
}  // namespace sightline
