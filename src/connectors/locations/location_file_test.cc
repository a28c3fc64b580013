#include "connectors/locations/location_file.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace sightline {
namespace {

std::string Table(int32_t rows, char name) {
  std::string text = "geographical_location_oid,geographical_location\n";
  for (int32_t row = 0; row < rows; ++row) text += std::to_string(row) + "," + name + "\n";
  return text;
}

TEST(LocationFile, IsReadWholeAndItsVersionTellsASwap) {
  const std::string path = testing::TempDir() + "/location_file_test.csv";
  ASSERT_TRUE(WriteFileWhole(path, Table(3, 'A')).ok());
  const auto first = ReadLocationFile(path);
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_EQ(first.value().locations.size(), 3u);
  EXPECT_EQ(first.value().bytes, Table(3, 'A'));
  EXPECT_EQ(ReadFileVersion(path), first.value().version);
  // The same size and the same time, but another file.
  const auto modified = std::filesystem::last_write_time(path);
  ASSERT_TRUE(WriteFileWhole(path, Table(3, 'B')).ok());
  std::filesystem::last_write_time(path, modified);
  const auto second = ReadFileVersion(path);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->bytes, first.value().version.bytes);
  EXPECT_EQ(second->modified_ns, first.value().version.modified_ns);
  EXPECT_NE(*second, first.value().version);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
}

TEST(LocationFile, RefusalsNameTheFile) {
  const std::string folder = testing::TempDir();
  for (const auto& [name, bytes, word] :
       {std::tuple<std::string, std::string, std::string>{"bad.csv", "a,b\n", "missing"},
        {"bad.parquet", "PAR1 and rubbish", "damaged"},
        {"encrypted.parquet", "PARE and rubbish PARE", "damaged"}}) {
    std::ofstream(folder + "/" + name, std::ios::binary) << bytes;
    const auto read = ReadLocationFile(folder + "/" + name);
    ASSERT_FALSE(read.ok());
    EXPECT_NE(read.status().message().find(name), std::string::npos) << read.status().message();
    EXPECT_NE(read.status().message().find(word), std::string::npos) << read.status().message();
  }
  for (const std::string& path : {folder + "/nowhere.csv", folder})
    EXPECT_NE(ReadLocationFile(path).status().message().find(path), std::string::npos);
  EXPECT_FALSE(ReadFileVersion(folder + "/nowhere.csv").has_value());
}

// Reads while the file is replaced all the time: each reader sees one of the two files, whole.
TEST(LocationFile, ASwapWhileItIsReadIsNeverHalfSeen) {
  const std::string path = testing::TempDir() + "/swapped.csv";
  ASSERT_TRUE(WriteFileWhole(path, Table(2'000, 'A')).ok());
  std::atomic<bool> stop = false;
  std::thread swapper([&] {
    for (int32_t i = 0; !stop; ++i) {
      const std::string fresh = path + ".fresh";
      std::ofstream(fresh, std::ios::binary) << (i % 2 ? Table(2'000, 'A') : Table(3'000, 'B'));
      std::filesystem::rename(fresh, path);
    }
  });
  for (int32_t i = 0; i < 100; ++i) {
    const auto read = ReadLocationFile(path);
    ASSERT_TRUE(read.ok()) << read.status().message();
    const auto& locations = read.value().locations;
    const bool is_a = locations.size() == 2'000;
    EXPECT_TRUE(is_a || locations.size() == 3'000) << locations.size();
    for (const Location& location : locations) ASSERT_EQ(location.name, is_a ? "A" : "B");
  }
  stop = true;
  swapper.join();
}

}  // namespace
}  // namespace sightline
