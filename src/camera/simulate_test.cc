#include "camera/simulate.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

namespace sightline {
namespace {

namespace json = boost::json;

constexpr int64_t kStart = 1'763'800'020'000;
constexpr int64_t kHour = 3'600'000;

// From `start` for `length` ms in steps of `step`.
std::vector<std::string> Simulate(Simulator& simulator, int64_t start, int64_t length,
                                  int64_t step) {
  std::vector<std::string> lines;
  for (int64_t now = start; now <= start + length; now += step)
    for (std::string& line : simulator.Advance({now})) lines.push_back(std::move(line));
  return lines;
}

TEST(Simulator, IsAFunctionOfOptionsSeedAndTime) {
  const SimulatorOptions options;
  Simulator a(options, 1), b(options, 1), other(options, 2);
  const auto lines = Simulate(a, kStart, 120'000, 100);
  EXPECT_GT(lines.size(), 1'000u);
  EXPECT_EQ(lines, Simulate(b, kStart, 120'000, 30'000));  // however time is cut
  EXPECT_NE(lines, Simulate(other, kStart, 120'000, 100));
  EXPECT_EQ(a.LocationsCsv(), b.LocationsCsv());
  EXPECT_NE(a.LocationsCsv(), other.LocationsCsv());
}

// One default hour, looked at from all sides.
class SimulatedHour : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    simulator_ = new Simulator({}, 1);
    lines_ = new std::vector<std::string>(Simulate(*simulator_, kStart, kHour, 1'000));
  }
  static void TearDownTestSuite() {
    delete simulator_;
    delete lines_;
  }
  static Simulator* simulator_;
  static std::vector<std::string>* lines_;
};
Simulator* SimulatedHour::simulator_ = nullptr;
std::vector<std::string>* SimulatedHour::lines_ = nullptr;

TEST_F(SimulatedHour, ReachesEveryBehaviour) {
  const SimulatorStats& stats = simulator_->stats();
  EXPECT_GT(stats.detections, stats.objects * 2);
  EXPECT_GT(stats.objects, 10'000);
  EXPECT_GT(stats.retried, 100);
  EXPECT_GT(stats.disordered, stats.detections / 25);
  EXPECT_LT(stats.disordered, stats.detections / 15);
  EXPECT_GT(stats.dark_spells, 5);
  EXPECT_GT(stats.backlog, 100);
  EXPECT_GT(stats.silent_spells, 0);
  EXPECT_GT(stats.clock_ahead, 0);
  EXPECT_GT(stats.clock_behind, 0);
  EXPECT_GT(stats.clock_seconds, 0);
  EXPECT_GT(stats.malformed, 20);
  EXPECT_GT(stats.heartbeats, 36 * 360 * 9 / 10);
  EXPECT_LE(stats.heartbeats, 36 * 361);
  EXPECT_EQ(stats.skipped_ms, 0);
}

TEST_F(SimulatedHour, GoodLinesDecodeAndAreSkewed) {
  const SimulatorStats& stats = simulator_->stats();
  int64_t broken = 0, detections = 0, heartbeats = 0, wrong_clock = 0;
  std::map<int64_t, std::tuple<int64_t, int64_t, std::string>> objects;
  std::map<int64_t, int64_t> by_location;
  std::map<std::string, int64_t> by_item;
  for (const std::string& line : *lines_) {
    ASSERT_EQ(line.find('\n'), std::string::npos);
    boost::system::error_code error;
    const json::value value = json::parse(line, error);
    const json::object* const object = error ? nullptr : value.if_object();
    const json::value* const id = object ? object->if_contains("detection_oid") : nullptr;
    if (object && object->contains("heartbeat")) {
      ++heartbeats;
      continue;
    }
    if (!id || !id->is_int64() || !object->contains("item_name") ||
        !object->at("timestamp_detected").is_int64() ||
        object->at("item_name").get_string().size() > kItemNameBytesMax) {
      ++broken;
      continue;
    }
    ++detections;
    const int64_t camera = object->at("video_camera_oid").as_int64();
    const int64_t location = object->at("geographical_location_oid").as_int64();
    EXPECT_EQ(camera / 100, location);
    EXPECT_GE(location, 1'001);
    EXPECT_LE(location, 1'012);
    const std::string item(object->at("item_name").as_string());
    ++by_item[item];
    ++by_location[location];
    EXPECT_GT(id->get_int64(), 0);
    // An id is one object: one camera, one item, whatever the copy.
    const auto known = objects.emplace(id->get_int64(), std::tuple(camera, location, item));
    EXPECT_EQ(known.first->second, std::tuple(camera, location, item));
    const int64_t time = object->at("timestamp_detected").as_int64();
    if (time < kStart - 100 || time > kStart + kHour) ++wrong_clock;
  }
  EXPECT_EQ(by_item.size(), 20u);
  EXPECT_EQ(by_item.count("señal") + by_item.count("自転車"), 2u);
  EXPECT_EQ(by_location.size(), 12u);
  // Skewed: the greatest is far above the least.
  auto skew = [](const auto& counts) {
    double least = 1e18, most = 0;
    for (const auto& [key, count] : counts) {
      least = std::min(least, static_cast<double>(count));
      most = std::max(most, static_cast<double>(count));
    }
    return most / least;
  };
  EXPECT_GT(skew(by_location), 3);
  EXPECT_GT(skew(by_item), 4);
  EXPECT_GT(wrong_clock, 0);
  EXPECT_LE(broken, stats.malformed * 2);  // retried, perhaps
  EXPECT_GE(broken, stats.malformed * 7 / 10);
  EXPECT_GE(detections, stats.detections * 99 / 100);
  EXPECT_GE(heartbeats, stats.heartbeats * 99 / 100);
}

SimulatorOptions Quiet() {
  SimulatorOptions options;
  options.day_rhythm = 0;
  options.disorder_probability = options.retry_probability = options.dark_probability = 0;
  options.silent_probability = options.wrong_clock_probability = options.malformed_probability = 0;
  options.heartbeat_interval = {0};
  return options;
}

TEST(Simulator, KeepsItsRate) {
  for (const double rate : {5.0, 1'000.0}) {
    SimulatorOptions options = Quiet();
    options.rate = rate;
    const int64_t length = rate > 100 ? kHour / 60 : kHour / 2;
    Simulator simulator(options, 3);
    const auto lines = Simulate(simulator, kStart, length, 10'000);
    const double expected = rate * static_cast<double>(length) / 1'000;
    EXPECT_NEAR(static_cast<double>(lines.size()), expected, expected / 10);
  }
}

TEST(Simulator, KeepsItsRateWithAllTroubles) {
  SimulatorOptions options;
  options.day_rhythm = 0;
  Simulator simulator(options, 4);
  Simulate(simulator, kStart, kHour / 2, 10'000);
  EXPECT_NEAR(static_cast<double>(simulator.stats().detections), 50 * 1'800, 9'000);
}

TEST(Simulator, ADayHasItsRhythmAndKeepsTheMean) {
  SimulatorOptions options = Quiet();
  options.day_rhythm = 0.6;
  options.rate = 2;
  options.locations = 2;
  options.cameras_per_location = 1;
  Simulator simulator(options, 5);
  const int64_t midnight = 1'763'766'000'000;  // 2025-11-22T00:00+01:00
  std::vector<int64_t> hours;
  simulator.Advance({midnight});
  for (int hour = 0; hour < 24; ++hour)
    hours.push_back(static_cast<int64_t>(
        Simulate(simulator, midnight + hour * kHour + kHour / 2, kHour / 5, 60'000).size()));
  int64_t sum = 0;
  for (const int64_t count : hours) sum += count;
  EXPECT_NEAR(static_cast<double>(sum), 2 * 86'400 / 5, 2 * 8'640 / 5);
  EXPECT_GT(hours[17], 2 * hours[3]);
  EXPECT_GT(hours[8], 2 * hours[3]);
}

TEST(Simulator, FavouritesChangeSoThatRanksMove) {
  SimulatorOptions options = Quiet();
  options.locations = 1;
  options.rate = 100;
  Simulator simulator(options, 6);
  simulator.Advance({kStart});
  std::set<std::vector<std::string>> orders;
  for (int minute = 1; minute <= 15; ++minute) {
    std::map<std::string, int64_t> counts;
    for (const std::string& line : simulator.Advance({kStart + minute * 60'000})) {
      const size_t at = line.find("\"item_name\":\"") + 13;
      ++counts[line.substr(at, line.find('"', at) - at)];
    }
    std::vector<std::pair<int64_t, std::string>> ranked;
    for (const auto& [item, count] : counts) ranked.emplace_back(-count, item);
    std::sort(ranked.begin(), ranked.end());
    ASSERT_GE(ranked.size(), 3u);
    orders.insert({ranked[0].second, ranked[1].second, ranked[2].second});
  }
  EXPECT_GT(orders.size(), 4u);
}

TEST(Simulator, IdsAreUniqueOverRestartsAndLeaps) {
  std::set<int64_t> seen;
  int64_t objects = 0;
  auto collect = [&](Simulator& simulator, int64_t start, int64_t length) {
    for (const std::string& line : Simulate(simulator, start, length, 1'000))
      seen.insert(json::parse(line).at("detection_oid").as_int64());
  };
  int64_t now = kStart;
  for (int restart = 0; restart < 20; ++restart, now += 1'000) {
    Simulator simulator(Quiet(), 1);
    collect(simulator, now, 1'000);
    objects += simulator.stats().objects;
  }
  Simulator simulator(Quiet(), 1);
  collect(simulator, now, 10'000);
  collect(simulator, now + 3 * kHour, 10'000);
  collect(simulator, now + kHour, 10'000);  // the clock was set back
  objects += simulator.stats().objects;
  EXPECT_EQ(static_cast<int64_t>(seen.size()), objects);
  EXPECT_LT(simulator.stats().skipped_ms, kHour + 60'000);
}

TEST(Simulator, TimesLieJustBehindNow) {
  Simulator simulator(Quiet(), 1);
  simulator.Advance({kStart});
  for (int64_t now = kStart + 100; now < kStart + 20'000; now += 100) {
    for (const std::string& line : simulator.Advance({now})) {
      const int64_t time = json::parse(line).at("timestamp_detected").as_int64();
      EXPECT_LE(time, now);
      EXPECT_GT(time, now - 100);
    }
  }
}

TEST(Simulator, WritesItsLocationTable) {
  Simulator simulator({.locations = 40}, 1);
  std::istringstream csv(simulator.LocationsCsv());
  std::string line;
  std::getline(csv, line);
  EXPECT_EQ(line, "geographical_location_oid,geographical_location,latitude,longitude,time_zone");
  std::set<std::string> oids, names;
  while (std::getline(csv, line)) {
    std::istringstream fields(line);
    std::vector<std::string> row;
    for (std::string field; std::getline(fields, field, ',');) row.push_back(field);
    ASSERT_EQ(row.size(), 5u) << line;
    EXPECT_TRUE(oids.insert(row[0]).second);
    EXPECT_TRUE(names.insert(row[1]).second);
    EXPECT_NEAR(std::stod(row[2]), 51.9, 0.1);
    EXPECT_EQ(row[4], "Europe/Amsterdam");
    if (row[0] == "7001") {
      EXPECT_EQ(row[1], "Town square");
    }
  }
  EXPECT_EQ(oids.size(), 41u);
  EXPECT_EQ(oids.count("1001") + oids.count("1040") + oids.count("7001"), 3u);
}

TEST(SimulatorOptions, NameEveryBrokenRule) {
  EXPECT_TRUE(SimulatorOptions{}.Validate().ok());
  SimulatorOptions options;
  options.rate = -1;
  options.locations = 1'000;
  options.cameras_per_location = 99;
  options.retry_probability = std::nan("");
  const Status status = options.Validate();
  ASSERT_EQ(status.code(), StatusCode::kStop);
  for (const char* word :
       {"rate is -1", "1000 * 99: set at most 1024 cameras", "retry_probability"})
    EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
}

}  // namespace
}  // namespace sightline
