#include "connectors/kafka/rekey_map.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/murmur2.h"

namespace sightline {
namespace {

using testing::ElementsAre;

constexpr int32_t kPartitions = 7;

std::string Detection(int64_t camera, int64_t id, const char* more = "") {
  return fmt::format(R"({{"geographical_location_oid":7,"video_camera_oid":{},"detection_oid":{},)"
                     R"("item_name":"bus","timestamp_detected":1763800020000{}}})",
                     camera, id, more);
}

std::vector<KeyedRecord> Map(RekeyMap& map, const std::string& value,
                             std::optional<std::string> key = std::nullopt, int32_t from = 3) {
  const std::string padded = value + std::string(kDecodePadding, '}');
  std::vector<KeyedRecord> out;
  map.Map(
      {.partition = from, .key = key, .value = std::string_view(padded).substr(0, value.size())},
      out);
  return out;
}
std::vector<KeyedRecord> ByCamera(const std::string& value,
                                  std::optional<std::string> key = std::nullopt) {
  RekeyMap map(RekeyBy::kCamera, DecodeRules{}, kPartitions);
  return Map(map, value, std::move(key));
}
KeyedRecord Keyed(int64_t key, std::string value) {
  return {PartitionOfKey(key, kPartitions), fmt::format("{}", key), std::move(value)};
}

TEST(RekeyMap, ARecordOfOneCameraIsHandedOnAsItIs) {
  for (const std::string& value : {Detection(5, 1), "  " + Detection(5, 1) + "\r\n",
                                   "[" + Detection(5, 1) + " , " + Detection(5, 2) + "]",
                                   Detection(5, 1) + "\n" + Detection(5, 1) + "\n"})
    EXPECT_THAT(ByCamera(value, "another key"), ElementsAre(Keyed(5, value)));
}

TEST(RekeyMap, AFrameOfSeveralCamerasIsSplitInOrder) {
  const std::string a1 = Detection(5, 1), b = Detection(-6, 2),
                    a2 = Detection(5, 3, R"(, "x" : 1)");
  for (const std::string& value : {"[" + a1 + "," + b + "," + a2 + "]", a1 + "\n" + b + "\n" + a2,
                                   a1 + "\n[" + b + "," + a2 + "]"})
    EXPECT_THAT(ByCamera(value), ElementsAre(Keyed(5, "[" + a1 + "," + a2 + "]"), Keyed(-6, b)));
}

TEST(RekeyMap, LineEndsInsideADetectionStay) {
  const std::string a = "{\n" + Detection(5, 1).substr(1), b = Detection(6, 2);
  EXPECT_THAT(ByCamera("[\n" + a + ",\n" + b + "\n]"),
              ElementsAre(Keyed(5, "[" + a + "]"), Keyed(6, b)));
}

TEST(RekeyMap, ByDetectionHeartbeatsKeepTheirCamera) {
  RekeyMap map(RekeyBy::kDetection, DecodeRules{}, kPartitions);
  const std::string beat =
      R"({"video_camera_oid":5,"geographical_location_oid":7,"heartbeat":1763800020000})";
  EXPECT_THAT(Map(map, Detection(5, 1) + "\n" + beat + "\n" + Detection(5, 2)),
              ElementsAre(Keyed(1, Detection(5, 1)), Keyed(5, beat), Keyed(2, Detection(5, 2))));
}

TEST(RekeyMap, WhatCannotBeDecodedKeepsItsBytesAndItsKey) {
  const auto place = [](const std::string& key) {
    return static_cast<int32_t>((Murmur2(key) & 0x7fffffff) % kPartitions);
  };
  EXPECT_THAT(ByCamera("not json\nnor this", "k"),
              ElementsAre(KeyedRecord{place("k"), "k", "not json\nnor this"}));
  EXPECT_THAT(ByCamera(""), ElementsAre(KeyedRecord{3, std::nullopt, ""}));
  EXPECT_THAT(ByCamera("[]", "k"), ElementsAre(KeyedRecord{place("k"), "k", "[]"}));
  EXPECT_THAT(ByCamera(Detection(5, 1) + "\nnot json", "k"),
              ElementsAre(Keyed(5, Detection(5, 1)), KeyedRecord{place("k"), "k", "not json"}));
  // The end that the array lacks is one malformed element, which is empty.
  EXPECT_THAT(ByCamera("[" + Detection(5, 1) + "," + Detection(6, 2), "k"),
              ElementsAre(Keyed(5, Detection(5, 1)), Keyed(6, Detection(6, 2)),
                          KeyedRecord{place("k"), "k", ""}));
  // Broken only among the others: it must not count now.
  const std::string two = Detection(6, 2) + Detection(7, 3);
  EXPECT_THAT(
      ByCamera("[" + Detection(5, 1) + "," + two + "]", "k"),
      ElementsAre(Keyed(5, Detection(5, 1)), KeyedRecord{place("k"), "k", "[" + two + "]"}));
  RekeyMap map(RekeyBy::kCamera, DecodeRules{}, kPartitions);
  std::vector<KeyedRecord> out;
  map.Map({.partition = 9, .key = std::nullopt, .value = "", .has_value = false}, out);
  EXPECT_THAT(out, ElementsAre(KeyedRecord{2, std::nullopt, std::nullopt}));
  EXPECT_EQ(map.unreadable(), 1);
}

// Whatever a message holds: what its parts mean is what it meant, in the same order for each key.
TEST(RekeyMap, RandomMessagesMeanTheSameInParts) {
  const std::vector<std::string> broken = {
      "{}",         "17",  "null", "\"a\"",      "not json",    "{'a':1}", "}{", "\xEF\xBB\xBF{}",
      "{\"a\":1}}", "[1]", ",",    "\"\\\"open", "[[],[{}]] x", "[",       "]",  "\x01"};
  for (unsigned seed = 0; seed < 3'000; ++seed) {
    std::mt19937 random(seed);
    const RekeyBy by = random() % 3 == 0 ? RekeyBy::kDetection : RekeyBy::kCamera;
    std::string message;
    const bool array = random() % 2 == 0;
    if (random() % 20 == 0) message += "\xEF\xBB\xBF";
    if (array) message += random() % 3 == 0 ? "[\n" : "[";
    for (unsigned i = random() % 8; i > 0; --i) {
      const auto camera = static_cast<int64_t>(random() % 3);
      if (random() % 5 == 0) {
        message += broken[random() % broken.size()];
      } else if (random() % 8 == 0) {
        message += fmt::format(
            R"({{"video_camera_oid":{},"geographical_location_oid":1,"heartbeat":5}})", camera);
      } else {
        std::string one = Detection(camera, static_cast<int64_t>(random() % 5));
        if (array && random() % 5 == 0) one.insert(1, "\n ");
        message += one;
      }
      message += array ? (i > 1 || random() % 10 == 0 ? "," : "") : "\n";
    }
    if (array && random() % 6 != 0) message += ']';

    const auto decode = [](std::string_view text,
                           std::map<std::string, std::vector<std::string>>& by_key, RekeyBy how,
                           std::vector<std::string>& malformed) {
      const std::string padded = std::string(text) + std::string(kDecodePadding, ' ');
      Decoder decoder(DecodeRules{});
      std::vector<Event> events;
      decoder.Decode(std::string_view(padded).substr(0, text.size()), events);
      std::string key;
      for (const Event& event : events) {
        if (event.kind == Event::Kind::kMalformed) {
          malformed.emplace_back(event.bytes);
          continue;
        }
        const bool camera = how == RekeyBy::kCamera || event.kind == Event::Kind::kHeartbeat;
        key = fmt::format("{}", camera ? event.camera.v : event.id.v);
        by_key[key].emplace_back(event.bytes);
      }
      return std::pair(key, events.size());
    };
    std::map<std::string, std::vector<std::string>> wanted, found;
    std::vector<std::string> wanted_broken, found_broken;
    decode(message, wanted, by, wanted_broken);
    RekeyMap map(by, DecodeRules{}, kPartitions);
    const std::string old_key = "k";
    for (const KeyedRecord& record : Map(map, message, old_key)) {
      ASSERT_TRUE(record.value && record.key);
      std::map<std::string, std::vector<std::string>> one;
      const size_t before = found_broken.size();
      decode(*record.value, one, by, found_broken);
      ASSERT_LE(one.size(), 1u) << message;
      if (!one.empty()) {
        EXPECT_EQ(found_broken.size(), before) << "readable and broken ones are apart: " << message;
        EXPECT_EQ(*record.key, one.begin()->first) << message;
        for (const std::string& element : one.begin()->second)
          found[*record.key].push_back(element);
      } else {
        EXPECT_EQ(*record.key, old_key);
      }
      EXPECT_EQ(record.partition,
                static_cast<int32_t>((Murmur2(*record.key) & 0x7fffffff) % kPartitions));
    }
    EXPECT_EQ(found, wanted) << message;
    EXPECT_EQ(found_broken, wanted_broken) << message;
    EXPECT_EQ(map.unreadable(), std::ssize(wanted_broken)) << message;
  }
}

}  // namespace
}  // namespace sightline
