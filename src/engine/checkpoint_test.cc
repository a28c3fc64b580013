#include "engine/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sightline {
namespace {

using testing::HasSubstr;

std::string Write(const CheckpointHead& head, std::vector<Segment> sealed, std::string_view state,
                  std::vector<SpilledRun> runs = {}) {
  std::string bytes;
  WriteCheckpoint(
      head, runs, sealed,
      [&](const ByteSink& out) {  // in pieces of odd sizes
        out(state.substr(0, 3));
        out(state.substr(3));
      },
      [&](std::string_view piece) { bytes.append(piece); });
  return bytes;
}

std::vector<SpilledRun> SampleRuns() {
  return {{.id = {{3}, 4}, .first = {2}, .boundaries = {{5}, {6}}, .rows = 10, .bytes = 100},
          {.id = {{5}, 1}, .first = {6}, .boundaries = {{7}}, .rows = 1, .bytes = 20}};
}

std::string Sample() {
  Segment segment{.first = {7}, .next = {9}, .watermark = {5}};
  segment.counts.push_back({.key = {{0}, {1}, "cup"}, .count = 2});
  return Write({.next = {9}, .origin = {1}, .degraded_until = {77}, .gap = {{3}, {5}}}, {segment},
               "state of it", SampleRuns());
}

TEST(CheckpointTest, ReadsWhatWasWritten) {
  const std::string bytes = Sample();
  const Result<Checkpoint> read = ReadCheckpoint(bytes);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value().head, (CheckpointHead{{9}, {1}, {77}, {{3}, {5}}}));
  ASSERT_EQ(read.value().sealed.size(), 1u);
  EXPECT_EQ(read.value().sealed[0].first, Offset{7});
  EXPECT_EQ(read.value().sealed[0].counts[0].key.item, "cup");
  EXPECT_EQ(read.value().runs, SampleRuns());
  EXPECT_EQ(read.value().state, "state of it");
}

// Written by a program from before runs existed: Sample() without them.
TEST(CheckpointTest, ReadsTheVersionWithoutRuns) {
  const std::string bytes(
      "\x53\x4c\x43\x50\x01\x12\x02\x9a\x01\x01\x0e\x12\x0a\x01\x03\x63\x75\x70\x01\x00"
      "\x02\x00\x00\x04\x00\x00\x00\x00\x73\x74\x61\x74\x65\x20\x6f\x66\x20\x69\x74\x64"
      "\xcc\x98\xd0\x54\x4f\xc9\xe2",
      47);
  const Result<Checkpoint> read = ReadCheckpoint(bytes);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value().head, (CheckpointHead{{9}, {1}, {77}, {}}));
  EXPECT_TRUE(read.value().runs.empty());
  ASSERT_EQ(read.value().sealed.size(), 1u);
  EXPECT_EQ(read.value().sealed[0].counts[0].key.item, "cup");
  EXPECT_EQ(read.value().state, "state of it");
}

// Written by a program from before gaps existed: Sample() without its gap.
TEST(CheckpointTest, ReadsTheVersionWithoutGap) {
  const std::string bytes(
      "\x53\x4c\x43\x50\x02\x12\x02\x9a\x01\x02\x06\x08\x04\x14\xc8\x01\x02\x03\x01\x0a"
      "\x02\x0c\x02\x28\x01\x01\x01\x0e\x12\x0a\x01\x03\x63\x75\x70\x01\x00\x02\x00\x00"
      "\x04\x00\x00\x00\x00\x73\x74\x61\x74\x65\x20\x6f\x66\x20\x69\x74\x23\xae\x97\x37"
      "\xa8\xd3\xa9\x41",
      64);
  const Result<Checkpoint> read = ReadCheckpoint(bytes);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value().head, (CheckpointHead{{9}, {1}, {77}, {}}));
  EXPECT_EQ(read.value().runs, SampleRuns());
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
  bytes[4] = 5;
  EXPECT_THAT(ReadCheckpoint(bytes).status().message(),
              HasSubstr("has version 5, and this program reads versions 1 to 4"));
}

TEST(CheckpointTest, SegmentsMustReachItsOffset) {
  const Segment segment{.first = {7}, .next = {8}};
  EXPECT_THAT(ReadCheckpoint(Write({.next = {9}}, {segment}, "state")).status().message(),
              HasSubstr("do not end at its offset"));
}

TEST(CheckpointTest, RunsAndSegmentsMustBeContiguous) {
  const auto message = [](std::vector<SpilledRun> runs, std::vector<Segment> sealed) {
    return ReadCheckpoint(Write({.next = {9}}, std::move(sealed), "state", std::move(runs)))
        .status()
        .message();
  };
  std::vector<SpilledRun> runs = SampleRuns();
  EXPECT_THAT(message(runs, {{.first = {8}, .next = {9}}}),
              HasSubstr("segments are not contiguous"));
  EXPECT_THAT(message(runs, {}), HasSubstr("do not end at its offset"));
  runs.back().boundaries = {{9}};
  EXPECT_EQ(message(runs, {}), "");
  runs.front().boundaries = {{5}};
  EXPECT_THAT(message(runs, {}), HasSubstr("runs are not contiguous"));
  runs.front().boundaries = {{5}, {5}, {6}};
  EXPECT_THAT(message(runs, {}), HasSubstr("the description of a spilled run cannot be decoded"));
}

}  // namespace
}  // namespace sightline
