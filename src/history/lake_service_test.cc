#include "history/lake_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "connectors/lake/testing.h"
#include "history/lake_reader.h"
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
    Open({.maintenance_interval = Millis{20}});
  }
  // A service on a new lake, or on the one that is there.
  void Open(LakeServiceOptions options, bool anew = true) {
    service_.reset();
    if (anew) fs::remove_all(dir_);
    options.dir = dir_;
    options.open_queries = OpenLocalQueries({});
    auto service = LakeService::Open(options, clock_, {});
    ASSERT_TRUE(service.ok()) << service.status().message();
    service_ = std::move(service).value();
  }
  std::unique_ptr<Sink> FencedSink() {
    auto sink = service_->OpenCountsSink(nullptr);
    EXPECT_TRUE(Settle([&] { return sink->Fence(partition_, {++epoch_}); }).ok());
    return sink;
  }
  // The offset counts one item in each of the locations, on a day that is over.
  void Commit(Sink& sink, int64_t offset, const std::vector<int64_t>& locations) {
    Segment segment{.first = {offset}, .next = {offset + 1}};
    for (const int64_t location : locations)
      segment.counts.push_back({.key = {.location = {location}, .item = "car"}, .count = 1});
    ASSERT_TRUE(Settle([&] { return sink.Commit(partition_, {&segment, 1}); }).ok());
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

  const SourcePartition partition_{"log/raw", 0};
  int64_t epoch_ = 0;
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
    Open({.roll_interval = given, .max_partitions = 2});
    const auto sink = FencedSink();
    for (int64_t location = 0; location < 3; ++location) {
      EXPECT_EQ(service_->roll_interval(), given.value_or(kRollInterval)) << location;
      Commit(*sink, location, {location});
    }
    EXPECT_EQ(service_->roll_interval(), given.value_or(kBucketRollInterval));
  }
}

// What a failed round has packed does not hold back the next one.
TEST_F(LakeServiceTest, WhatCannotBePackedStaysATrouble) {
  std::vector<int64_t> locations(40);
  std::iota(locations.begin(), locations.end(), 0);
  Open({.maintenance_interval = Millis{1'000'000}});
  for (int64_t offset = 0; offset < 2; ++offset) Commit(*FencedSink(), offset, locations);
  // The last one to be packed, after a commit of others.
  for (const auto& file : fs::recursive_directory_iterator(dir_ / "item_count_increments" /
                                                           "geographical_location_oid=9"))
    if (file.is_regular_file()) std::ofstream(file.path(), std::ios::trunc) << "not Parquet";
  Open({.maintenance_interval = Millis{400}, .troubled_interval = Millis{20}}, /*anew=*/false);
  ASSERT_TRUE(Eventually("oid=9"));
  for (int i = 0; i < 200; ++i) {
    ASSERT_THAT(service_->trouble(), HasSubstr("oid=9"));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
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

// A port on which nobody listens.
StorageOptions Away() {
  return {.hdfs = {{"prod", {.namenodes = {"http://127.0.0.1:1"}, .attempts_max = 1}}}};
}

std::string AskAll(QueryService& queries) {
  const AnswerEnd end =
      queries.Answer({.request = SqlRequest{"SELECT * FROM ledger"}, .scope = Scope::All()}, {},
                     {.append = [](std::string_view) { return Status::Ok(); }, .clear = nullptr});
  EXPECT_EQ(end.status.code(), StatusCode::kRetry);
  return end.status.message();
}

// An empty answer would be a wrong one.
TEST_F(LakeServiceTest, ALakeThatIsAwayAtTheStartHasNoStateAndTakesNothing) {
  auto away = LakeService::Open({.dir = "hdfs://prod/lake",
                                 .storage = Away(),
                                 .location_name = {},
                                 .open_queries = OpenLocalQueries({}),
                                 .cache = {.folder = dir_ / "cache"}},
                                clock_, {{.location = {1}, .name = "Gate"}});
  ASSERT_TRUE(away.ok()) << away.status().message();
  EXPECT_THAT(away.value()->trouble(), HasSubstr("127.0.0.1:1"));
  EXPECT_THAT(AskAll(*away.value()->queries()), HasSubstr("has not been read yet"));
  const SourcePartition partition{"log", 0};
  for (const auto& sink : {away.value()->OpenCountsSink({}), away.value()->OpenLedgerSink({})}) {
    EXPECT_EQ(sink->Fence(partition, Epoch{1}).code(), StatusCode::kRetry);
    EXPECT_EQ(sink->Committed(partition).status().code(), StatusCode::kRetry);
  }
}

TEST_F(LakeServiceTest, AReaderOfALakeThatIsAwaySaysSo) {
  const auto reader = LakeReader::Follow({.lake = "hdfs://prod/lake",
                                          .storage = Away(),
                                          .cache = {.folder = dir_ / "cache"},
                                          .open_queries = OpenLocalQueries({})},
                                         Millis{10});
  ASSERT_TRUE(reader.ok()) << reader.status().message();
  EXPECT_THAT(AskAll(reader.value()->queries()), HasSubstr("has not been read yet"));
  EXPECT_NE(reader.value()->trouble(), "");
  const auto tells = [&] {
    return reader.value()->trouble().find("127.0.0.1:1") != std::string::npos;
  };
  for (int i = 0; i < 1'000 && !tells(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(tells()) << reader.value()->trouble();
  EXPECT_THAT(AskAll(reader.value()->queries()), HasSubstr("127.0.0.1:1"));
}

// It is known to be empty, so that is the answer.
TEST_F(LakeServiceTest, ALakeThatDoesNotExistYetIsEmpty) {
  const auto reader = LakeReader::Follow({.lake = (dir_ / "none").native(),
                                          .storage = {},
                                          .cache = {},
                                          .open_queries = OpenLocalQueries({})},
                                         Millis{10});
  ASSERT_TRUE(reader.ok()) << reader.status().message();
  const AnswerEnd end = reader.value()->queries().Answer(
      {.request = SqlRequest{"SELECT * FROM ledger"}, .scope = Scope::All()}, {},
      {.append = [](std::string_view) { return Status::Ok(); }, .clear = nullptr});
  EXPECT_TRUE(end.status.ok()) << end.status.message();
  for (int i = 0; i < 1'000 && reader.value()->trouble().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_THAT(reader.value()->trouble(), HasSubstr("there is no lake in"));
}

}  // namespace
}  // namespace sightline
