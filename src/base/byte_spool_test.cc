#include "base/byte_spool.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace sightline {
namespace {

namespace fs = std::filesystem;

class ByteSpoolTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string folder_;
};

std::string BytesOf(const ByteSpool& spool) {
  if (spool.fd() < 0) return spool.in_memory();
  std::string bytes(static_cast<size_t>(spool.size()), '\0');
  EXPECT_EQ(pread(spool.fd(), bytes.data(), bytes.size(), 0), spool.size());
  return bytes;
}

TEST_F(ByteSpoolTest, KeepsFewBytesInMemoryAndManyInAFileWithoutAName) {
  for (const size_t size : {0, 9, 10, 11, 1'000, 100'000}) {
    ByteSpool spool(folder_, 10);
    std::string all;
    for (size_t written = 0; written < size; ++written) {
      const std::string piece(1, static_cast<char>(written));
      spool.Write(piece);
      all += piece;
    }
    ASSERT_TRUE(spool.Finish().ok());
    EXPECT_EQ(spool.size(), std::ssize(all));
    EXPECT_EQ(spool.fd() >= 0, size > 10) << size;
    EXPECT_EQ(BytesOf(spool), all);
    EXPECT_TRUE(fs::is_empty(folder_));
  }
}

TEST_F(ByteSpoolTest, WithoutAFolderEverythingStaysInMemory) {
  ByteSpool spool("", 1);
  spool.Write("much more than one byte");
  ASSERT_TRUE(spool.Finish().ok());
  EXPECT_EQ(spool.fd(), -1);
  EXPECT_EQ(spool.in_memory(), "much more than one byte");
}

TEST_F(ByteSpoolTest, SaysWhyTheBytesCannotBeKept) {
  ByteSpool spool(folder_ + "/nowhere", 1);
  spool.Write("xx");
  spool.Write("more");
  const Status failed = spool.Finish();
  EXPECT_FALSE(failed.ok());
  EXPECT_NE(failed.message().find("/nowhere"), std::string::npos) << failed.message();
}

}  // namespace
}  // namespace sightline
