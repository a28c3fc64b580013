#include "query/file_list.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/location.h"

namespace sightline {
namespace {

LakeFile File(int64_t location, int64_t day) {
  return {.path = std::to_string(location) + "/" + std::to_string(day),
          .location = LocationId{location},
          .day = Day{day}};
}

std::vector<std::string> Paths(const FileList& files, const ReadBounds& bounds) {
  std::vector<std::string> paths;
  for (const LakeFile* file : files.Select(bounds)) paths.push_back(file->path);
  return paths;
}

using Strings = std::vector<std::string>;

TEST(FileListTest, SelectsByLocationAndDay) {
  const FileList files("/lake", {File(1, 5), File(2, 5), File(1, 6), File(-3, 7)});
  EXPECT_EQ(files.size(), 4u);
  EXPECT_EQ(Paths(files, {}), (Strings{"1/5", "2/5", "1/6", "-3/7"}));
  EXPECT_EQ(Paths(files, {.locations = std::set{LocationId{1}}}), (Strings{"1/5", "1/6"}));
  EXPECT_EQ(Paths(files, {.first_day = {6}, .end_day = {7}}), (Strings{"1/6"}));
  EXPECT_EQ(Paths(files, {.first_day = {7}, .end_day = {6}}), Strings{});
  EXPECT_EQ(Paths(files, {.locations = std::set<LocationId>{}}), Strings{});
  EXPECT_EQ(files.AbsolutePath(File(1, 5)), "/lake/1/5");
}

TEST(FileListTest, WhatIsNotSaidMayBeAnything) {
  LakeFile bucket{.path = "bucket", .day = Day{5}};
  LakeFile loose{.path = "loose"};
  loose.window_start_min = EventTime{5 * kDayMs};
  loose.window_start_max = EventTime{6 * kDayMs - 1};
  const FileList files("/lake", {File(1, 5), bucket, loose});
  EXPECT_EQ(Paths(files, {.locations = std::set{LocationId{9}}}), (Strings{"loose", "bucket"}));
  EXPECT_EQ(Paths(files, {.first_day = {6}}), Strings{});
  EXPECT_EQ(Paths(files, {.end_day = {5}}), Strings{});
  EXPECT_EQ(Paths(files, {.first_day = {5}, .end_day = {6}}), (Strings{"loose", "bucket", "1/5"}));
}

TEST(FileListTest, SelectsByBucket) {
  std::vector<LakeFile> all;
  for (int32_t bucket = 0; bucket < kLocationBuckets; ++bucket)
    all.push_back({.path = fmt::format("{:02}", bucket), .day = Day{5}, .bucket = bucket});
  all.push_back({.path = "foreign", .day = Day{5}});
  const FileList files("/lake", all);
  EXPECT_EQ(Paths(files, {.locations = std::set{LocationId{7}}}), (Strings{"04", "foreign"}));
  EXPECT_EQ(Paths(files, {.locations = std::set{LocationId{7}, LocationId{-1}}}),
            (Strings{"04", "11", "foreign"}));
  EXPECT_EQ(Paths(files, {.locations = std::set<LocationId>{}}), (Strings{"foreign"}));
  EXPECT_EQ(Paths(files, {}).size(), all.size());
}

TEST(FileListTest, KnowsWhetherAPathTellsWhatTheLogSays) {
  auto tells = [](const std::string& root, const std::string& path, bool has_location = true) {
    LakeFile file{.path = path, .day = Day{20458}};
    if (has_location) file.location = LocationId{-7};
    return FileList(root, {}).PathTells(file);
  };
  const std::string good = "geographical_location_oid=-7/date=2026-01-05/part-0.parquet";
  for (const char* root : {"/lake/counts", "counts"}) EXPECT_TRUE(tells(root, good)) << root;
  for (const char* root : {"/date=2020-01-01/counts", "/a=b", "x\\date=2020-01-01"})
    EXPECT_FALSE(tells(root, good)) << root;
  EXPECT_TRUE(tells("r", "any/date=2026-01-05/geographical_location_oid=-7/x=y.parquet"));
  EXPECT_TRUE(tells("r", "date=2026-01-05/bucket=3/part-0.parquet", /*has_location=*/false));
  EXPECT_FALSE(tells("r", good, /*has_location=*/false));
  for (const char* path :
       {"part-0.parquet", "date=2026-01-05/part-0.parquet",
        "geographical_location_oid=7/date=2026-01-05/part-0.parquet",
        "geographical_location_oid=-7/date=2026-01-06/part-0.parquet",
        "geographical_location_oid=-07/date=2026-01-05/part-0.parquet",
        "date=2026-01-06/geographical_location_oid=-7/date=2026-01-05/part-0.parquet",
        "geographical_location_oid=-7/date=2026-01-05/item_count=3/part-0.parquet",
        "geographical_location_oid=-7/date=2026-01-05/x?/part-0.parquet"}) {
    EXPECT_FALSE(tells("r", path)) << path;
  }
}

TEST(FileListTest, VersionsShareDays) {
  const FileList old("/lake", {File(1, 5), File(2, 5), File(1, 6)});
  LakeFile packed = File(1, 5);
  packed.path = "packed";
  const FileList next = old.With({{packed}}, {{File(1, 5), File(2, 5)}});
  EXPECT_EQ(Paths(next, {}), (Strings{"packed", "1/6"}));
  EXPECT_EQ(next.size(), 2u);
  EXPECT_EQ(old.size(), 3u);
  EXPECT_EQ(next.Select({.first_day = {6}})[0], old.Select({.first_day = {6}})[0]);
  EXPECT_EQ(next.With({}, {{packed, File(1, 6)}}).size(), 0u);
}

}  // namespace
}  // namespace sightline
