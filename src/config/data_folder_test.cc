#include "config/data_folder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace sightline {
namespace {

namespace fs = std::filesystem;

class DataFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    ASSERT_TRUE(DataFolder(dir_ / "data").Create().ok());
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path dir_;
};

TEST_F(DataFolderTest, TheAddressIsOfThisFolderAlone) {
  const DataFolder folder(dir_ / "data");
  EXPECT_FALSE(folder.ReadAddress());
  ASSERT_TRUE(folder.WriteAddress({"http://127.0.0.1:8080", "k3x9"}).ok());
  ASSERT_TRUE(folder.ReadAddress());
  EXPECT_EQ(folder.ReadAddress()->url, "http://127.0.0.1:8080");
  EXPECT_EQ(folder.ReadAddress()->boot, "k3x9");
  fs::copy(dir_ / "data", dir_ / "copy", fs::copy_options::recursive);
  EXPECT_TRUE(fs::exists(dir_ / "copy" / "address"));
  EXPECT_FALSE(DataFolder(dir_ / "copy").ReadAddress());
  EXPECT_TRUE(folder.ReadAddress());
}

TEST_F(DataFolderTest, ARenamedFolderKeepsItsAddress) {
  ASSERT_TRUE(DataFolder(dir_ / "data").WriteAddress({"http://127.0.0.1:8080", "k3x9"}).ok());
  fs::rename(dir_ / "data", dir_ / "renamed");
  EXPECT_TRUE(DataFolder(dir_ / "renamed").ReadAddress());
  fs::create_directory_symlink(dir_ / "renamed", dir_ / "link");
  EXPECT_TRUE(DataFolder(dir_ / "link").ReadAddress());
}

TEST_F(DataFolderTest, AnAddressWithoutAFolderIsNobodys) {
  std::ofstream(dir_ / "data" / "address") << "http://127.0.0.1:8080\nk3x9\n";
  EXPECT_FALSE(DataFolder(dir_ / "data").ReadAddress());
}

}  // namespace
}  // namespace sightline
