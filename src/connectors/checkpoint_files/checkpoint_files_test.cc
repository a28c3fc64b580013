#include "connectors/checkpoint_files/checkpoint_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace sightline {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const SourcePartition kPartition{"kafka:x/raw", 2};

class CheckpointFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    // In memory if possible: the files are small, and the tests would otherwise wait for fsync.
    const fs::path in = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string name = (in / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }

  Status Put(Epoch epoch, const std::string& bytes) {
    const CheckpointWriter writer = [&bytes](const ByteSink& out) { out(bytes); };
    return CheckpointFiles(dir_).PutIfAbsent(kPartition, epoch, &writer);
  }
  Status Claim(Epoch epoch) {
    return CheckpointFiles(dir_).PutIfAbsent(kPartition, epoch, nullptr);
  }
  Result<StoredCheckpoint> Latest() { return CheckpointFiles(dir_).Latest(kPartition); }
  fs::path partition_dir() { return dir_ / "kafka%3Ax%2Fraw" / "2"; }
  fs::path entry(int epoch) {
    return partition_dir() / ("0000000000000000000" + std::to_string(epoch) + ".entry");
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(partition_dir()))
      names.push_back(file.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path dir_;
};

TEST_F(CheckpointFilesTest, KeepsTheNewestCheckpointAndWhatIsNewer) {
  ASSERT_TRUE(Claim({1}).ok());
  ASSERT_TRUE(Put({2}, "two").ok());
  ASSERT_TRUE(Put({3}, "three").ok());
  ASSERT_TRUE(Claim({4}).ok());
  ASSERT_TRUE(Claim({5}).ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000003.entry", "00000000000000000004.entry",
                                   "00000000000000000005.entry"));
  ASSERT_TRUE(Put({6}, "six").ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000006.entry"));
}

TEST_F(CheckpointFilesTest, SettingsArePutOnce) {
  CheckpointFiles store(dir_ / "new");
  EXPECT_EQ(store.Settings().value(), std::nullopt);
  ASSERT_TRUE(store.PutSettingsIfAbsent("window = 1\n").ok());
  EXPECT_EQ(store.Settings().value(), "window = 1\n");
  ASSERT_TRUE(store.PutSettingsIfAbsent("window = 2\n").ok());
  EXPECT_EQ(CheckpointFiles(dir_ / "new").Settings().value(), "window = 1\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_ / "new"), {}), 1);
}

TEST_F(CheckpointFilesTest, ListsItsPartitions) {
  EXPECT_THAT(CheckpointFiles(dir_ / "nowhere").Partitions().value(), ElementsAre());
  CheckpointFiles store(dir_);
  const SourcePartition other{".x%y/raw", 11};
  ASSERT_TRUE(store.PutSettingsIfAbsent("settings").ok());
  ASSERT_TRUE(Put({3}, "three").ok());
  ASSERT_TRUE(Claim({4}).ok());
  ASSERT_TRUE(store.PutIfAbsent(other, {1}, nullptr).ok());
  EXPECT_THAT(store.Partitions().value(), ElementsAre(other, kPartition));
  EXPECT_EQ(store.NewestCheckpoint(kPartition).value(), "three");
  EXPECT_EQ(store.NewestCheckpoint(other).value(), std::nullopt);
  // To look at a partition does not disturb the puts of its owner.
  std::ofstream(partition_dir() / ".put-123-1") << "half";
  EXPECT_EQ(store.NewestCheckpoint(kPartition).value(), "three");
  EXPECT_EQ(Names().size(), 3u);
}

TEST_F(CheckpointFilesTest, RemovesWhatAnInterruptedPutHasLeft) {
  ASSERT_TRUE(Put({1}, "one").ok());
  std::ofstream(partition_dir() / ".put-123-1") << "half";
  CheckpointFiles store(dir_);
  EXPECT_EQ(store.Latest(kPartition).value().checkpoint, "one");
  EXPECT_THAT(Names(), ElementsAre("00000000000000000001.entry"));
  // Later ones may be under way.
  std::ofstream(partition_dir() / ".put-123-2") << "half";
  ASSERT_TRUE(store.Latest(kPartition).ok());
  EXPECT_EQ(Names().size(), 2u);
}

TEST_F(CheckpointFilesTest, AnOlderOwnerWhosePutWasRemovedBeginsAgain) {
  CheckpointFiles store(dir_);
  const CheckpointWriter writer = [this](const ByteSink& out) {
    out("x");
    EXPECT_TRUE(Latest().ok());  // a newer task starts
  };
  EXPECT_EQ(store.PutIfAbsent(kPartition, {1}, &writer).code(), StatusCode::kRebuild);
  EXPECT_EQ(Latest().value().newest, Epoch{0});
}

TEST_F(CheckpointFilesTest, AnOlderOwnerIsNotBelievedWhenNewerEntriesCameMeanwhile) {
  ASSERT_TRUE(Claim({1}).ok());
  CheckpointFiles store(dir_);
  const CheckpointWriter writer = [this](const ByteSink& out) {
    out("old");
    EXPECT_TRUE(Claim({2}).ok());
    EXPECT_TRUE(Put({3}, "new").ok());  // removes entry 2
  };
  EXPECT_EQ(store.PutIfAbsent(kPartition, {2}, &writer).code(), StatusCode::kRebuild);
  EXPECT_EQ(Latest().value().newest, Epoch{3});
  EXPECT_EQ(Latest().value().checkpoint, "new");
}

// Whatever happens to the newest checkpoint, an older one never takes its place silently.
TEST_F(CheckpointFilesTest, SaysWhenTheNewestCheckpointIsDamaged) {
  ASSERT_TRUE(Put({1}, std::string(20, 'a')).ok());
  ASSERT_TRUE(Claim({2}).ok());
  std::stringstream good;
  good << std::ifstream(entry(1), std::ios::binary).rdbuf();
  const auto write = [this](const std::string& bytes) {
    std::ofstream(entry(1), std::ios::binary | std::ios::trunc) << bytes;
  };
  for (size_t at = 0; at < good.str().size(); ++at) {
    std::string bytes = good.str();
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    write(bytes);
    const Status damaged = Latest().status();
    ASSERT_EQ(damaged.code(), StatusCode::kStop) << at;
    ASSERT_THAT(damaged.message(), HasSubstr(entry(1).native()));
    write(good.str().substr(0, at));
    ASSERT_EQ(Latest().status().code(), StatusCode::kStop) << at;
  }
  write(good.str() + "x");
  EXPECT_EQ(Latest().status().code(), StatusCode::kStop);
  write(good.str());
  EXPECT_TRUE(Latest().ok());
}

TEST_F(CheckpointFilesTest, KnowsAnEntryThatLiesInAnotherPlace) {
  ASSERT_TRUE(Put({1}, "one").ok());
  fs::copy_file(entry(1), entry(2));
  const Status wrong = Latest().status();
  EXPECT_EQ(wrong.code(), StatusCode::kStop);
  EXPECT_THAT(wrong.message(), HasSubstr("it is entry 1 of 'kafka:x/raw' partition 2"));
}

TEST_F(CheckpointFilesTest, SaysWhichRunIsDamagedOrMissing) {
  CheckpointFiles store(dir_);
  ASSERT_TRUE(store.PutRun(kPartition, {{7}, 2}, std::string(20, 'a')).ok());
  const fs::path path = store.RunPath(kPartition, {{7}, 2});
  EXPECT_THAT(Names(), ElementsAre("00000000000000000007-00000000000000000002.run"));
  std::stringstream good;
  good << std::ifstream(path, std::ios::binary).rdbuf();
  const auto write = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  };
  for (size_t at = 0; at < good.str().size(); ++at) {
    std::string bytes = good.str();
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    write(bytes);
    const Status damaged = store.ReadRun(kPartition, {{7}, 2}).status();
    ASSERT_EQ(damaged.code(), StatusCode::kStop) << at;
    ASSERT_THAT(damaged.message(), HasSubstr(path.native()));
    write(good.str().substr(0, at));
    ASSERT_EQ(store.ReadRun(kPartition, {{7}, 2}).status().code(), StatusCode::kStop) << at;
  }
  write(good.str());
  EXPECT_TRUE(store.ReadRun(kPartition, {{7}, 2}).ok());
  fs::rename(path, store.RunPath(kPartition, {{7}, 3}));
  EXPECT_THAT(store.ReadRun(kPartition, {{7}, 3}).status().message(),
              HasSubstr("it is run 7-2 of 'kafka:x/raw' partition 2"));
  EXPECT_THAT(store.ReadRun(kPartition, {{7}, 2}).status().message(), HasSubstr(path.native()));
}

TEST_F(CheckpointFilesTest, EntriesAndRunsDoNotTouchEachOther) {
  CheckpointFiles store(dir_);
  ASSERT_TRUE(Put({1}, "one").ok());
  ASSERT_TRUE(store.PutRun(kPartition, {{1}, 1}, "run").ok());
  ASSERT_TRUE(Put({2}, "two").ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000001-00000000000000000001.run",
                                   "00000000000000000002.entry"));
  ASSERT_TRUE(store.RemoveRuns(kPartition, {2}, {}).ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000002.entry"));
}

// The file system of the directory is unmounted: its path leads to the empty mount point.
TEST_F(CheckpointFilesTest, AnEmptyMountPointIsNoStore) {
  const fs::path dir = dir_ / "checkpoints", away = dir_ / "away";
  CheckpointFiles first(dir);
  ASSERT_TRUE(first.PutSettingsIfAbsent("window = 1\n").ok());
  CheckpointFiles store(dir, first.Hold().value());
  const CheckpointWriter writer = [](const ByteSink& out) { out("two"); };
  ASSERT_TRUE(store.PutIfAbsent(kPartition, {1}, nullptr).ok());
  ASSERT_TRUE(store.PutIfAbsent(kPartition, {2}, &writer).ok());
  ASSERT_TRUE(store.PutRun(kPartition, {{1}, 1}, "run").ok());
  fs::rename(dir, away);
  for (const bool mount_point : {false, true}) {
    if (mount_point) fs::create_directory(dir);
    EXPECT_EQ(store.Latest(kPartition).status().code(), StatusCode::kRetry);
    EXPECT_EQ(store.PutIfAbsent(kPartition, {3}, nullptr).code(), StatusCode::kRetry);
    EXPECT_EQ(store.PutRun(kPartition, {{1}, 2}, "run").code(), StatusCode::kRetry);
    EXPECT_EQ(store.ReadRun(kPartition, {{1}, 1}).status().code(), StatusCode::kRetry);
    const Status removed = store.RemoveRuns(kPartition, {2}, {});
    EXPECT_EQ(removed.code(), StatusCode::kRetry);
    EXPECT_THAT(removed.message(), HasSubstr("is not the directory that was opened"));
  }
  EXPECT_TRUE(fs::is_empty(dir));
  fs::remove(dir);
  fs::rename(away, dir);
  EXPECT_EQ(store.Latest(kPartition).value().checkpoint, "two");
  EXPECT_EQ(store.ReadRun(kPartition, {{1}, 1}).value(), "run");
  EXPECT_TRUE(store.PutIfAbsent(kPartition, {3}, nullptr).ok());
}

TEST_F(CheckpointFilesTest, AWriteThatFailsLeavesNothingAndCanBeTriedAgain) {
  ASSERT_TRUE(Put({1}, "one").ok());
  // Simulates a full disk: no file may grow beyond 64 KiB.
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 64 * 1024, before.rlim_max };
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status failed = Put({2}, std::string(1'000'000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(failed.code(), StatusCode::kRetry);
  EXPECT_THAT(failed.message(), HasSubstr("cannot write"));
  EXPECT_THAT(Names(), ElementsAre("00000000000000000001.entry"));
  EXPECT_EQ(Latest().value().checkpoint, "one");
  EXPECT_TRUE(Put({2}, std::string(1'000'000, 'x')).ok());
}

TEST_F(CheckpointFilesTest, StopsWhereOnlyAPersonCanHelp) {
  std::ofstream(dir_ / "file") << "x";
  CheckpointFiles store(dir_ / "file" / "below");
  EXPECT_EQ(store.PutIfAbsent(kPartition, {1}, nullptr).code(), StatusCode::kStop);
}

}  // namespace
}  // namespace sightline
