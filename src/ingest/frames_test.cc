#include "ingest/frames.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace sightline {
namespace {

using testing::ElementsAre;

std::string Detection(int64_t camera, int64_t id, int64_t time, const std::string& item = "bus") {
  return fmt::format(R"({{"geographical_location_oid":7,"video_camera_oid":{},"detection_oid":{},)"
                     R"("item_name":"{}","timestamp_detected":{}}})",
                     camera, id, item, time);
}
struct One {
  std::optional<DetectionOrigin> origin;
  std::string bytes;
};
PackedRecords Pack(const std::vector<One>& records) {
  PackedRecords packed{.partition = 3, .count = std::ssize(records)};
  ByteWriter out;
  for (const One& record : records) {
    out.String(record.bytes);
    packed.origins.push_back(record.origin);
  }
  packed.bytes = out.Take();
  return packed;
}
std::vector<std::string> Join(const std::vector<One>& records) {
  JoinFrames frames(DecodeRules{});
  const PackedRecords joined = frames.Join(Pack(records));
  EXPECT_EQ(joined.partition, 3);
  EXPECT_EQ(joined.count, std::ssize(joined.origins));
  std::vector<std::string> values;
  ByteReader in(joined.bytes);
  for (int64_t i = 0; i < joined.count; ++i) values.emplace_back(in.String());
  EXPECT_TRUE(in.done());
  return values;
}

TEST(JoinFrames, AFrameIsOneCameraAtOneMoment) {
  const DetectionOrigin a{{1}, {7}}, b{{2}, {7}};
  EXPECT_THAT(
      Join({{a, Detection(1, 10, 500)},
            {a, Detection(1, 11, 500)},
            {a, Detection(1, 12, 533)},
            {b, Detection(2, 13, 533)},
            {b, Detection(2, 14, 533)},
            {a, Detection(1, 15, 533)}}),
      ElementsAre(Detection(1, 10, 500) + "\n" + Detection(1, 11, 500), Detection(1, 12, 533),
                  Detection(2, 13, 533) + "\n" + Detection(2, 14, 533), Detection(1, 15, 533)));
  EXPECT_THAT(Join({}), ElementsAre());
}

TEST(JoinFrames, WhatIsNoDetectionStaysAlone) {
  const DetectionOrigin a{{1}, {7}};
  const std::string beat =
      R"({"video_camera_oid":1,"geographical_location_oid":7,"heartbeat":500})";
  EXPECT_THAT(
      Join({{a, beat},
            {a, beat},
            {a, Detection(1, 1, 500)},
            {std::nullopt, "not json"},
            {std::nullopt, "not json"},
            {a, Detection(1, 2, 500)}}),
      ElementsAre(beat, beat, Detection(1, 1, 500), "not json", "not json", Detection(1, 2, 500)));
}

TEST(JoinFrames, AFrameOfVeryManyBytesIsSeveralRecords) {
  std::vector<One> records;
  const std::string large = R"(x","extra":")" + std::string(100'000, 'y');
  for (int64_t i = 0; i < 5; ++i)
    records.push_back({DetectionOrigin{{1}, {7}}, Detection(1, i, 500, large)});
  EXPECT_EQ(Join(records).size(), 3u);
}

}  // namespace
}  // namespace sightline
