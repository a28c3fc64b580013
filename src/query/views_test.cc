#include "query/views.h"

#include <gtest/gtest.h>

#include "query/test_lake.h"

namespace sightline {
namespace {

// Rows in files of both layouts.
void Fill(TestLake& lake) {
  lake.WriteCounts(
      {Increment(7, "bus", 0, 5), Increment(8, "car", 0, 7), Increment(7, "bus", 24 * 60, 1)});
  lake.WriteCounts({Increment(7, "cat", 0, 2), Increment(9, "cat", 1, 4)}, /*bucketed=*/true);
}

std::string Ask(const std::shared_ptr<TestLake>& lake, const std::string& where) {
  return Written(Engine(lake)->Run("SELECT geographical_location_oid AS oid, date, item_name, "
                                   "item_count FROM item_count_increments " +
                                       where + " ORDER BY ALL",
                                   Scope::All(), {}),
                 ResultFormat::kCsv);
}

// The paths below say other days, locations and counts than the log, or nothing.
TEST(ViewsTest, ThePartitionsOfAFileAreThoseOfTheLog) {
  const auto plain = std::make_shared<TestLake>();
  Fill(*plain);
  const std::string all = Ask(plain, "");
  EXPECT_EQ(all,
            "oid,date,item_name,item_count\r\n7,2026-01-01,bus,5\r\n7,2026-01-01,cat,2\r\n"
            "7,2026-01-02,bus,1\r\n8,2026-01-01,car,7\r\n9,2026-01-01,cat,4\r\n");
  const std::string some = "WHERE geographical_location_oid = 7 AND date = '2026-01-01'";
  for (const char* below :
       {"", "date=2020-01-01", "geographical_location_oid=9/item_count=3", "it's a=b, [c]*"}) {
    const auto lake = std::make_shared<TestLake>(below);
    Fill(*lake);
    EXPECT_EQ(Ask(lake, ""), all) << below;
    EXPECT_EQ(Ask(lake, some), Ask(plain, some)) << below;
    int file = 0;
    lake->MoveCounts([&](const LakeFile& old) {
      return ++file % 2 == 0 ? fmt::format("item_count=9/{}.parquet", file)
                             : "date=2020-02-02/" + old.path;
    });
    EXPECT_EQ(Ask(lake, ""), all) << below;
    EXPECT_EQ(Ask(lake, some), Ask(plain, some)) << below;
  }
}

// In a process whose working directory is the lake's.
TEST(ViewsTest, ReadsRelativePaths) {
  const auto lake = std::make_shared<TestLake>("date=2020-01-01");
  Fill(*lake);
  const std::string all = Ask(lake, "");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(lake->directory());
  std::vector<LakeFile> files;
  for (const LakeFile* file : lake->state.counts_files.Select({})) files.push_back(*file);
  lake->state.counts_files = FileList("item_count_increments", files);
  EXPECT_TRUE(lake->state.counts_files.PathTells(files.front()));
  EXPECT_EQ(Ask(lake, ""), all);
  std::filesystem::current_path(before);
}

}  // namespace
}  // namespace sightline
