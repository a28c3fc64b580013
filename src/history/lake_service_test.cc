#include "history/lake_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "connectors/lake/testing.h"
#include "query/local_queries.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using lake_testing::Settle;
using testing::HasSubstr;

class LakeServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    auto service = LakeService::Open({.dir = dir_,
                                      .maintenance_interval = Millis{20},
                                      .location_name = {},
                                      .open_queries = OpenLocalQueries({})},
                                     clock_, {});
    ASSERT_TRUE(service.ok()) << service.status().message();
    service_ = std::move(service).value();
  }
  void TearDown() override {
    service_.reset();
    fs::remove_all(dir_);
  }
  void Damage(const std::string& table) const {
    std::ofstream(dir_ / table / "_delta_log" / "00000000000000000000.json") << "not JSON";
  }
  bool Eventually(const std::string& word) const {
    for (int i = 0; i < 1'000; ++i) {
      if (service_->trouble().find(word) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  fs::path dir_;
  const SystemClock machine_clock_;
  LogClock clock_{machine_clock_};
  std::unique_ptr<LakeService> service_;
};

// Maintenance takes the tables one after the other.
TEST_F(LakeServiceTest, TheSuccessOfOneTableDoesNotHideTheTroubleOfAnother) {
  EXPECT_EQ(service_->trouble(), "");
  Damage("item_count_increments");
  ASSERT_TRUE(Eventually("item_count_increments"));
  for (int i = 0; i < 200; ++i) {
    ASSERT_THAT(service_->trouble(), HasSubstr("item_count_increments"));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Damage("ledger");
  EXPECT_TRUE(Eventually("ledger/"));
  EXPECT_THAT(service_->trouble(), HasSubstr("item_count_increments"));
}

// Above max_partitions, files are fewer and larger. A value that somebody has set stays.
TEST_F(LakeServiceTest, TheRollIntervalFollowsTheLayout) {
  for (const std::optional<Millis> given : {std::optional<Millis>(), std::optional(Millis{200})}) {
    service_.reset();
    fs::remove_all(dir_);
    service_ = std::move(LakeService::Open({.dir = dir_,
                                            .roll_interval = given,
                                            .max_partitions = 2,
                                            .location_name = {},
                                            .open_queries = OpenLocalQueries({})},
                                           clock_, {}))
                   .value();
    const SourcePartition partition{"log/raw", 0};
    const auto sink = service_->OpenCountsSink(nullptr);
    ASSERT_TRUE(Settle([&] { return sink->Fence(partition, {1}); }).ok());
    for (int64_t location = 0; location < 3; ++location) {
      EXPECT_EQ(service_->roll_interval(), given.value_or(kRollInterval)) << location;
      const CountRow row{.key = {.location = {location}, .item = "car"}, .count = 1};
      const Segment segment{.first = {location}, .next = {location + 1}, .counts = {row}};
      ASSERT_TRUE(Settle([&] { return sink->Commit(partition, {&segment, 1}); }).ok());
    }
    EXPECT_EQ(service_->roll_interval(), given.value_or(kBucketRollInterval));
  }
}

// Their file may not change again for months.
TEST_F(LakeServiceTest, LocationsAreWrittenAgainUntilTheyAre) {
  std::ofstream(dir_ / "locations") << "a file in the place of the table";
  service_->SetLocations({{.location = {1}, .name = "Gate"}});
  EXPECT_THAT(service_->trouble(), HasSubstr("locations"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // ten rounds of maintenance
  EXPECT_THAT(service_->trouble(), HasSubstr("locations"));
  fs::remove(dir_ / "locations");
  for (int i = 0; i < 1'000 && !service_->trouble().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(service_->trouble(), "");
  EXPECT_TRUE(fs::exists(dir_ / "locations" / "_delta_log"));
}

}  // namespace
}  // namespace sightline
