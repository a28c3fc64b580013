#include "engine/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sightline {
namespace {

using testing::HasSubstr;

std::string Write(const CheckpointHead& head, std::vector<Segment> sealed, std::string_view state) {
  std::string bytes;
  WriteCheckpoint(
      head, sealed,
      [&](const ByteSink& out) {  // in pieces of odd sizes
        out(state.substr(0, 3));
        out(state.substr(3));
      },
      [&](std::string_view piece) { bytes.append(piece); });
  return bytes;
}

std::string Sample() {
  Segment segment{.first = {7}, .next = {9}, .watermark = {5}};
  segment.counts.push_back({.key = {{0}, {1}, "cup"}, .count = 2});
  return Write({.next = {9}, .origin = {1}, .degraded_until = {77}}, {segment}, "state of it");
}

TEST(CheckpointTest, ReadsWhatWasWritten) {
  const std::string bytes = Sample();
  const Result<Checkpoint> read = ReadCheckpoint(bytes);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value().head, (CheckpointHead{{9}, {1}, {77}}));
  ASSERT_EQ(read.value().sealed.size(), 1u);
  EXPECT_EQ(read.value().sealed[0].first, Offset{7});
  EXPECT_EQ(read.value().sealed[0].counts[0].key.item, "cup");
  EXPECT_EQ(read.value().state, "state of it");
}

TEST(CheckpointTest, EveryDamagedBitIsFound) {
  const std::string bytes = Sample();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const Result<Checkpoint> read = ReadCheckpoint(damaged);
      ASSERT_FALSE(read.ok()) << "byte " << i << " bit " << bit;
      EXPECT_EQ(read.status().code(), StatusCode::kStop);
    }
  }
}

TEST(CheckpointTest, EveryTruncationIsFound) {
  const std::string bytes = Sample();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(ReadCheckpoint(std::string_view(bytes).substr(0, size)).ok()) << size;
  EXPECT_FALSE(ReadCheckpoint(bytes + "x").ok());
}

TEST(CheckpointTest, AnotherVersionSaysSo) {
  std::string bytes = Sample();
  bytes[4] = 2;
  EXPECT_THAT(ReadCheckpoint(bytes).status().message(),
              HasSubstr("has version 2, this program reads version 1"));
}

TEST(CheckpointTest, SegmentsMustReachItsOffset) {
  const Segment segment{.first = {7}, .next = {8}};
  EXPECT_THAT(ReadCheckpoint(Write({.next = {9}}, {segment}, "state")).status().message(),
              HasSubstr("do not end at its offset"));
}

}  // namespace
}  // namespace sightline
