#include "config/options.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace sightline {
namespace {

Status Load(std::string_view toml, Settings* options) {
  const std::string path = testing::TempDir() + "/options_test.toml";
  std::ofstream(path) << toml;
  return LoadConfig(path, OptionTable(options));
}

TEST(Options, EveryOptionHasADefaultThatItTakesItselfAUnitAndHelp) {
  Settings options;
  for (const Option& option : OptionTable(&options)) {
    EXPECT_FALSE(option.unit.empty()) << option.key;
    EXPECT_FALSE(option.help.empty()) << option.key;
    if (option.section) continue;        // below
    if (option.get().empty()) continue;  // unset
    EXPECT_TRUE(option.set(option.get()).ok()) << option.key << " " << option.get();
  }
  EXPECT_TRUE(options.pipeline.Validate().ok());
}

TEST(Options, ReadsAConfig) {
  Settings options;
  const Status status = Load(
      "data = '/tmp/x'\npartitions = 16\n[pipeline]\nwindow_size = '5m'\nmax_age = 'off'\n"
      "count_from = '2026-11-22T00:00:00Z'\nwatermark_step = 'bounded'\n[server]\nbody_max = "
      "'1MiB'\n",
      &options);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(options.data, "/tmp/x");
  EXPECT_EQ(options.partitions, 16);
  EXPECT_EQ(options.pipeline.window_size.v, 300'000);
  EXPECT_FALSE(options.pipeline.max_age.has_value());
  EXPECT_EQ(options.pipeline.count_from.v, 1795305600000);
  EXPECT_EQ(options.pipeline.watermark_step, WatermarkStep::kBounded);
  EXPECT_EQ(options.server.body_max, 1 << 20);
}

TEST(Options, NamesAndOriginsOfAProxy) {
  Settings options;
  const Status status = Load(
      "[server]\nallowed_hosts = 'counts.example.org, [fe80::1],sightline'\n"
      "public_origin = 'https://counts.example.org'\n"
      "cors_origins = 'https://a.example,http://b.example:3000'\n",
      &options);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(options.server.allowed_hosts,
            (std::vector<std::string>{"counts.example.org", "[fe80::1]", "sightline"}));
  EXPECT_EQ(options.server.public_origin, "https://counts.example.org");
  EXPECT_EQ(options.server.cors_origins,
            (std::vector<std::string>{"https://a.example", "http://b.example:3000"}));
  ASSERT_TRUE(Load("[server]\nallowed_hosts = ''\npublic_origin = ''\n", &options).ok());
  EXPECT_TRUE(options.server.allowed_hosts.empty() && options.server.public_origin.empty());
  for (const char* wrong : {"*", "null", "counts.example.org", "https://", "https://a.example/",
                            "https://a.example/path", "ftp://a.example", "https://u@a.example"}) {
    const std::string quoted = "'" + std::string(wrong) + "'\n";
    for (const char* key : {"public_origin = ", "cors_origins = "}) {
      const Status refused = Load("[server]\n" + (key + quoted), &options);
      EXPECT_NE(refused.message().find("is not an origin: write https://"), std::string::npos)
          << wrong;
    }
  }
  for (const char* wrong : {"http://a.example", "a b", "*", "a,,b", "a/b"})
    EXPECT_FALSE(Load("[server]\nallowed_hosts = '" + std::string(wrong) + "'\n", &options).ok())
        << wrong;
}

TEST(Options, TheCheckpointsHaveAPlace) {
  Settings options{.data = "/data"};
  EXPECT_EQ(options.CheckpointUri(), "/data/checkpoints");
  EXPECT_EQ(options.KnownTablesOfCount(), "/data/count_lake.json");
  ASSERT_TRUE(Load("[engine]\ncheckpoint_dir = '/former'\n", &options).ok());
  EXPECT_EQ(options.CheckpointUri(), "/former");
  EXPECT_EQ(options.KnownTablesOfCount(), "/former/lake.json");
  // A file with all options has the former name, too, and it is empty there.
  ASSERT_TRUE(
      Load("[engine]\ncheckpoint_uri = 'hdfs://prod/x'\ncheckpoint_dir = ''\n", &options).ok());
  EXPECT_EQ(options.CheckpointUri(), "hdfs://prod/x");
  EXPECT_EQ(options.KnownTablesOfCount(), "/data/count_lake.json");
}

TEST(Options, ASectionMayHaveANameOfItsOwn) {
  Settings options;
  const Status status = Load(
      "[hdfs.prod]\nnamenodes = ['https://nn1:9871', 'https://nn2:9871']\ndirectory_mode = '770'\n"
      "[hdfs.'nn1:8020']\nnamenodes = 'http://nn1:9870'\nuploads_max = 2\n"
      "[s3.counts]\nregion = 'eu-west-1'\npath_style = false\nencryption = 'sse-kms'\n"
      "[s3.'counts.example']\nendpoint = 'https://s3.example:9000'\n",
      &options);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(options.hdfs.size(), 2u);
  EXPECT_EQ(options.hdfs["prod"].namenodes,
            (std::vector<std::string>{"https://nn1:9871", "https://nn2:9871"}));
  EXPECT_EQ(options.hdfs["prod"].directory_mode, "770");
  EXPECT_EQ(options.hdfs["nn1:8020"].namenodes, std::vector<std::string>{"http://nn1:9870"});
  EXPECT_EQ(options.hdfs["nn1:8020"].uploads_max, 2);
  EXPECT_EQ(options.s3.size(), 2u);
  EXPECT_EQ(options.s3["counts"].region, "eu-west-1");
  EXPECT_FALSE(options.s3["counts"].path_style);
  EXPECT_EQ(options.s3["counts"].encryption, S3Encryption::kKms);
  EXPECT_EQ(options.s3["counts.example"].endpoint, "https://s3.example:9000");
  for (const auto& [toml, words] : std::vector<std::pair<const char*, const char*>>{
           {"[hdfs.prod]\nnamenode = 'x'\n",
            ":2: unknown key 'hdfs.prod.namenode'; did you mean "
            "'hdfs.prod.namenodes'"},
           {"[hdfs]\nuser = 'x'\n", ":2: 'hdfs.user' must be a section: write [hdfs.NAME]"},
           {"[hdfs.prod]\nnamenodes = ['nn1:9870']\n", "'nn1:9870' must begin with http://"},
           {"[s3.prod]\nencryption = 'yes'\n", "'yes' is not one of default | sse-s3 | sse-kms"},
           {"[s3.prod]\nsecret = 'x'\n", "unknown key 's3.prod.secret'"},
           {"[hdfs.prod]\nnamenodes = [7]\n", "must be a string"},
           {"[hdfs.prod]\nuser = ['x']\n", "must be a string"},
           {"[hdf.prod]\nuser = 'x'\n", "did you mean 'hdfs'"}})
    EXPECT_NE(Load(toml, &options).message().find(words), std::string::npos)
        << Load(toml, &options).message();
  for (const Option& option : OptionTable(&options)) {
    if (!option.section) continue;
    for (const Option& row : option.section("prod")) {
      EXPECT_TRUE(row.key.starts_with(option.key.substr(0, option.key.find('.')) + ".prod."))
          << row.key;
      EXPECT_FALSE(row.unit.empty() || row.help.empty()) << row.key;
      EXPECT_TRUE(row.set(row.get()).ok()) << row.key;
    }
  }
}

TEST(Options, ErrorsNameLineKeyAndTheNearestKey) {
  Settings options;
  for (const auto& [toml, words] : std::vector<std::pair<const char*, std::vector<const char*>>>{
           {"\n[pipeline]\nwindow_sise = '1m'\n", {":3:", "'pipeline.window_size'"}},
           {"[pipelin]\nwindow_size = '1m'\n", {"unknown section 'pipelin'", "'pipeline'"}},
           {"partitions = 0\n", {":1:", "partitions", "from 1 to 1024"}},
           {"log_level = []\n", {"log_level"}},
           {"[pipeline]\nwatermark_step = 'far'\n", {"'far' is not one of free | bounded"}},
           {"[pipeline]\ndedup_horizon = 'soon'\n", {"'soon' is not a duration", "h, m"}},
           {"[pipeline]\ndedup_horizon = '99999999999999999d'\n", {"is not a duration"}},
           {"data = \n", {":1"}}}) {
    const Status status = Load(toml, &options);
    ASSERT_FALSE(status.ok()) << toml;
    for (const char* word : words)
      EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
  }
}

TEST(Options, ADurationNeedsAUnit) {
  Settings options;
  for (const char* value : {"3600", "'3600'", "'3600 '"}) {
    for (const char* key : {"dedup_horizon", "max_age"}) {
      const Status status = Load(std::string("[pipeline]\n") + key + " = " + value, &options);
      EXPECT_NE(status.message().find("needs a unit: write 3600"), std::string::npos)
          << key << value << status.message();
      EXPECT_NE(status.message().find(":2: pipeline."), std::string::npos) << status.message();
    }
  }
  EXPECT_EQ(ParseDuration("3600").status().message(),
            "'3600' needs a unit: write 3600s, or 3600ms for milliseconds");
  const Status given = ReadOptions("", {{"lake.roll_interval", "200"}}, OptionTable(&options));
  EXPECT_NE(given.message().find("--lake.roll_interval: '200' needs a unit"), std::string::npos)
      << given.message();
  EXPECT_FALSE(options.lake.roll_interval.has_value());
  EXPECT_FALSE(ReadOptions("", {{"lake.roll_interval", "50ms"}}, OptionTable(&options)).ok());
  ASSERT_TRUE(ReadOptions("", {{"lake.roll_interval", "2m"}}, OptionTable(&options)).ok());
  EXPECT_EQ(options.lake.roll_interval, Millis{120'000});
  ASSERT_TRUE(ReadOptions("", {{"lake.roll_interval", "auto"}}, OptionTable(&options)).ok());
  EXPECT_FALSE(options.lake.roll_interval.has_value());
  EXPECT_EQ(ParseDuration("0").value().v, 0);
  EXPECT_EQ(ParseDuration("3600 s").value().v, 3'600'000);
  EXPECT_EQ(ParseDuration("1ms").value().v, 1);
  ASSERT_TRUE(Load("[pipeline]\nout_of_orderness = 0\n", &options).ok());
  EXPECT_EQ(options.pipeline.out_of_orderness.v, 0);
  EXPECT_EQ(ParseBytes("4096").value(), 4'096);
}

TEST(Options, Listen) {
  EXPECT_TRUE(ParseListen("127.0.0.1:8080").value().is_loopback);
  EXPECT_TRUE(ParseListen("[::1]:0").value().is_loopback);
  EXPECT_EQ(ParseListen("localhost:1").value().address, "127.0.0.1");
  EXPECT_FALSE(ParseListen("0.0.0.0:8080").value().is_loopback);
  for (const char* text : {"", "8080", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "a:-1"})
    EXPECT_FALSE(ParseListen(text).ok()) << text;
}

}  // namespace
}  // namespace sightline
