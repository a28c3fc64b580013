#include "connectors/locations/locations_refresh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char *kHeader = "geographical_location_oid,geographical_location\n";

class LocationsRefreshTest : public testing::Test {
 protected:
  LocationsRefreshTest() {
    std::string name = (std::filesystem::temp_directory_path() / "sightline-XXXXXX").native();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~LocationsRefreshTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::string path() const { return (folder_ / "locations.csv").native(); }
  std::string copy() const { return (folder_ / "data" / "locations").native(); }
  // Swapped by a rename, as the file's owner should do it.
  void Write(const std::string &rows) {
    const std::filesystem::path fresh = folder_ / "fresh";
    std::ofstream(fresh) << kHeader << rows;
    std::filesystem::rename(fresh, path());
  }
  void MakeDataFolder() { std::filesystem::create_directory(folder_ / "data"); }

  std::filesystem::path folder_;
};

TEST_F(LocationsRefreshTest, WithoutAFileThereIsNoTable) {
  LocationsRefresh table("", copy());
  EXPECT_TRUE(table.Load().ok());
  table.Refresh();
  EXPECT_EQ(table.state().version, 0);
  EXPECT_EQ(table.state().refused, "");
  EXPECT_EQ(table.NameOf({7}), "");
}

TEST_F(LocationsRefreshTest, LoadsAndKeepsACopy) {
  MakeDataFolder();
  Write("7,Harbour\n8,Station\n");
  LocationsRefresh table(path(), copy());
  std::vector<size_t> told;
  table.OnChange([&](const std::vector<Location> &rows) { told.push_back(rows.size()); });
  ASSERT_TRUE(table.Load().ok());
  EXPECT_EQ(table.NameOf({7}), "Harbour");
  EXPECT_EQ(table.NameOf({9}), "");
  EXPECT_EQ(table.locations().size(), 2);
  EXPECT_EQ(table.state().version, 1);
  EXPECT_EQ(table.state().rows, 2);
  EXPECT_EQ(table.state().refused, "");
  EXPECT_THAT(told, ElementsAre(2));
  std::ifstream kept(copy());
  const std::string bytes{std::istreambuf_iterator<char>(kept), {}};
  EXPECT_EQ(bytes, std::string(kHeader) + "7,Harbour\n8,Station\n");
}

TEST_F(LocationsRefreshTest, TakesNewVersionsAndOnlyThose) {
  MakeDataFolder();
  Write("7,Harbour\n");
  LocationsRefresh table(path(), copy());
  ASSERT_TRUE(table.Load().ok());
  table.Refresh();
  EXPECT_EQ(table.state().version, 1) << "it has not changed";
  Write("7,Old Harbour\n8,Station\n");
  table.Refresh();
  EXPECT_EQ(table.state().version, 2);
  EXPECT_EQ(table.NameOf({7}), "Old Harbour");
  EXPECT_EQ(table.NameOf({8}), "Station");
}

TEST_F(LocationsRefreshTest, RefusesWhatItCannotUseAndKeepsTheLastGoodOne) {
  MakeDataFolder();
  Write("7,Harbour\n8,Station\n9,Market\n");
  LocationsRefresh table(path(), copy());
  ASSERT_TRUE(table.Load().ok());
  const auto refuses = [&](const std::string &rows, const std::string &why) {
    Write(rows);
    table.Refresh();
    EXPECT_THAT(table.state().refused,
                AllOf(HasSubstr(why), HasSubstr("Sightline keeps using the last good table")));
    EXPECT_EQ(table.state().version, 1);
    EXPECT_EQ(table.NameOf({7}), "Harbour");
    EXPECT_EQ(table.locations().size(), 3);
  };
  refuses("7,Harbour\nseven,Station\n", "line 3");
  refuses("7,Harbour\n7,Station\n", "line 3");
  refuses("7,Harbour\n", "loses more than half of its rows");
  // It stays refused, and is good again when the file is.
  table.Refresh();
  EXPECT_NE(table.state().refused, "");
  Write("7,Old Harbour\n8,Station\n");
  table.Refresh();
  EXPECT_EQ(table.state().refused, "");
  EXPECT_EQ(table.state().version, 2);
  EXPECT_EQ(table.NameOf({7}), "Old Harbour");
}

TEST_F(LocationsRefreshTest, AFileThatIsGoneKeepsItsNames) {
  MakeDataFolder();
  Write("7,Harbour\n");
  LocationsRefresh table(path(), copy());
  ASSERT_TRUE(table.Load().ok());
  std::filesystem::rename(path(), folder_ / "aside");
  table.Refresh();
  EXPECT_THAT(table.state().refused, AllOf(HasSubstr(path()), HasSubstr("is gone")));
  EXPECT_EQ(table.NameOf({7}), "Harbour");
  std::filesystem::rename(folder_ / "aside", path());
  table.Refresh();
  EXPECT_EQ(table.state().refused, "");
}

TEST_F(LocationsRefreshTest, AStartNeedsTheFileOrItsCopy) {
  MakeDataFolder();
  EXPECT_EQ(LocationsRefresh(path(), copy()).Load().code(), StatusCode::kStop);
  Write("7,Harbour\n");
  ASSERT_TRUE(LocationsRefresh(path(), copy()).Load().ok());
  for (const char *broken : {"seven,Harbour\n", ""}) {
    Write(broken);
    LocationsRefresh table(path(), copy());
    ASSERT_TRUE(table.Load().ok());
    EXPECT_EQ(table.NameOf({7}), "Harbour");
    EXPECT_EQ(table.state().version, 1);
    EXPECT_THAT(table.state().refused, AllOf(HasSubstr(path()), HasSubstr(copy())));
  }
  std::filesystem::remove(path());
  LocationsRefresh table(path(), copy());
  ASSERT_TRUE(table.Load().ok());
  EXPECT_NE(table.state().refused, "");
  Write("7,Old Harbour\n");
  table.Refresh();
  EXPECT_EQ(table.state().refused, "");
  EXPECT_EQ(table.NameOf({7}), "Old Harbour");
}

TEST_F(LocationsRefreshTest, ACopyThatIsBrokenTooIsNoHelp) {
  MakeDataFolder();
  Write("seven,Harbour\n");
  std::ofstream(copy()) << "not a table";
  const Status status = LocationsRefresh(path(), copy()).Load();
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr(path())) << "the file has to be repaired";
}

// A full disk must not cost the names.
TEST_F(LocationsRefreshTest, ACopyThatCannotBeWrittenIsTriedAgain) {
  Write("7,Harbour\n");
  LocationsRefresh table(path(), copy());
  ASSERT_TRUE(table.Load().ok());
  EXPECT_EQ(table.NameOf({7}), "Harbour");
  EXPECT_EQ(table.state().refused, "");
  EXPECT_FALSE(std::filesystem::exists(copy()));
  MakeDataFolder();
  table.Refresh();
  EXPECT_TRUE(std::filesystem::exists(copy()));
  EXPECT_EQ(table.state().version, 1);
}

}  // namespace
}  // namespace sightline
