#include "admin/redrive_cursor.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace sightline {
namespace {

using Ranges = std::map<int64_t, int64_t>;

TEST(OffsetSet, JoinsWhatTouchesOrOverlaps) {
  OffsetSet set;
  set.Add({10}, {20});
  set.Add({30}, {40});
  set.Add({5}, {5});
  EXPECT_EQ(set.ranges(), (Ranges{{10, 20}, {30, 40}}));
  set.Add({20}, {21});
  set.Add({9}, {10});
  EXPECT_EQ(set.ranges(), (Ranges{{9, 21}, {30, 40}}));
  for (const auto& [offset, in] :
       {std::pair{8, false}, {9, true}, {20, true}, {21, false}, {30, true}, {40, false}})
    EXPECT_EQ(set.Contains({offset}), in) << offset;
  set.Add({12}, {35});
  EXPECT_EQ(set.ranges(), (Ranges{{9, 40}}));
  set.Add({0}, {50});
  EXPECT_EQ(set.ranges(), (Ranges{{0, 50}}));
}

TEST(RedriveCursor, IsOfOneLogAndOneProcess) {
  const std::string data = testing::TempDir() + "/redrive_cursor_test";
  std::filesystem::remove_all(data);
  std::filesystem::create_directories(data);
  {
    auto cursor = RedriveCursor::Open(data, "log", false);
    ASSERT_TRUE(cursor.ok());
    cursor.value().Of("dead_letters", 3).Add({7}, {9});
    ASSERT_TRUE(cursor.value().Save().ok());
    EXPECT_FALSE(RedriveCursor::Open(data, "log", false).ok());  // another one runs
    EXPECT_TRUE(RedriveCursor::Open(data, "log", true).ok());    // but not a dry run
  }
  auto cursor = RedriveCursor::Open(data, "log", false);
  ASSERT_TRUE(cursor.ok());
  EXPECT_EQ(cursor.value().Of("dead_letters", 3).ranges(), (Ranges{{7, 9}}));
  EXPECT_TRUE(cursor.value().Of("late_detections", 3).ranges().empty());
  auto other = RedriveCursor::Open(data, "other log", true);
  ASSERT_TRUE(other.ok());
  EXPECT_TRUE(other.value().Of("dead_letters", 3).ranges().empty());
  for (const char* text :
       {"", "{", "[]", "{\"log\":\"log\"}", "{\"log\":\"log\",\"sent\":{\"a\":3}}"}) {
    std::ofstream(data + "/redrive.json") << text;
    EXPECT_FALSE(RedriveCursor::Open(data, "log", true).ok()) << text;
  }
}

}  // namespace
}  // namespace sightline
