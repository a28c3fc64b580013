#include "cli/lake_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace sightline {
namespace {

// Each test has a directory of its own, which is the current one.
class LakePlaceTest : public testing::Test {
 protected:
  LakePlaceTest() : before_(std::filesystem::current_path()) {
    std::string name = (std::filesystem::temp_directory_path() / "sightline-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    here_ = name;
    std::filesystem::current_path(here_);
  }
  ~LakePlaceTest() override {
    std::filesystem::current_path(before_);
    std::filesystem::remove_all(here_);
  }
  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }
  static std::string Find(const LakePlaceOptions& given) {
    const Result<LakePlace> place = FindLake(given);
    if (!place.ok()) return "error: " + place.status().message();
    return place.value().data + " " + place.value().lake +
           (place.value().files_only ? " files" : "");
  }

  const std::filesystem::path before_;
  std::filesystem::path here_;
};

TEST_F(LakePlaceTest, WithoutAConfiguration) {
  EXPECT_EQ(Find({}), "data data/lake");
  EXPECT_EQ(Find({.data = "/srv/x"}), "/srv/x /srv/x/lake");
  EXPECT_EQ(Find({.lake = "/lakes/a"}), "data /lakes/a files");
}

TEST_F(LakePlaceTest, TheConfigurationHereIsOfItsDataFolder) {
  Write("sightline.toml", "data = 'd'\n[lake]\ndir = '/lakes/b'\n");
  EXPECT_EQ(Find({}), "d /lakes/b");
  EXPECT_EQ(Find({.data = "d"}), "d /lakes/b");
  EXPECT_EQ(Find({.data = (here_ / "x" / ".." / "d").string()}),
            (here_ / "x" / ".." / "d").string() + " /lakes/b");
  EXPECT_EQ(Find({.data = "/srv/x"}), "/srv/x /srv/x/lake");
  EXPECT_EQ(Find({.lake = "/lakes/a"}), "data /lakes/a files");
}

TEST_F(LakePlaceTest, TheConfigurationSaysWhereAnHdfsIs) {
  Write("sightline.toml", "[hdfs.prod]\nnamenodes = 'http://a'\n");
  Write("other.toml", "[hdfs.prod]\nnamenodes = 'http://b'\n[lake]\ndir = 'hdfs://prod/c'\n");
  EXPECT_EQ(Find({.lake = "hdfs://prod/lake"}), "data hdfs://prod/lake files");
  EXPECT_EQ(Find({.config = "other.toml"}), "data hdfs://prod/c");
  for (const auto& [config, url] : {std::pair{"", "http://a"}, std::pair{"other.toml", "http://b"}})
    EXPECT_EQ(FindLake({.lake = "hdfs://prod/lake", .config = config})
                  .value()
                  .storage.hdfs.at("prod")
                  .namenodes.at(0),
              url);
}

TEST_F(LakePlaceTest, TheConfigurationSaysHowABucketIsReached) {
  Write("sightline.toml", "[s3.counts]\nendpoint = 'http://a'\n");
  EXPECT_EQ(Find({.lake = "s3://counts/lake"}), "data s3://counts/lake files");
  EXPECT_EQ(FindLake({.lake = "s3://counts/lake"}).value().storage.s3.at("counts").endpoint,
            "http://a");
}

TEST_F(LakePlaceTest, TheConfigurationThatIsNamed) {
  Write("sightline.toml", "[lake]\ndir = '/lakes/b'\n");
  Write("other.toml", "data = 'o'\n[lake]\ndir = '/lakes/c'\n");
  EXPECT_EQ(Find({.config = "other.toml"}), "o /lakes/c");
  // --data overrides the file, as it does for `up`.
  EXPECT_EQ(Find({.data = "/srv/x", .config = "other.toml"}), "/srv/x /lakes/c");
  EXPECT_THAT(Find({.config = "missing.toml"}), testing::StartsWith("error: missing.toml"));
  Write("sightline.toml", "[lake]\nfolder = '/lakes/b'\n");
  EXPECT_THAT(Find({}), testing::StartsWith("error: sightline.toml:2: unknown key 'lake.folder'"));
  EXPECT_EQ(Find({.lake = "/lakes/a"}), "data /lakes/a files");  // the config is not needed
}

}  // namespace
}  // namespace sightline
