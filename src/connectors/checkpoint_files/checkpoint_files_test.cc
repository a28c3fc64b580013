#include "connectors/checkpoint_files/checkpoint_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "connectors/checkpoint_files/checkpoint_place.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const SourcePartition kPartition{"kafka:x/raw", 2};

// A storage that does something else than a put: the answer, or nothing to go on with the put.
class HookedStorage final : public Storage {
 public:
  using Hook = std::function<std::optional<Result<PutOutcome>>(Storage&, const NewFile&)>;
  HookedStorage(std::unique_ptr<Storage> storage, Hook on_put)
      : storage_(std::move(storage)), on_put_(std::move(on_put)) {}
  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override {
    return storage_->Read(path, range);
  }
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override {
    if (auto answer = on_put_(*storage_, files[0])) return *answer;
    return storage_->PutFiles(files, mode);
  }
  Result<std::vector<FileInfo>> List(std::string_view directory) override {
    return storage_->List(directory);
  }
  Result<std::optional<FileInfo>> Stat(std::string_view path) override {
    return storage_->Stat(path);
  }
  Status Delete(std::string_view path) override { return storage_->Delete(path); }

 private:
  const std::unique_ptr<Storage> storage_;
  const Hook on_put_;
};

bool IsEntry(const NewFile& file) { return file.path.ends_with(".entry"); }
bool IsBody(const NewFile& file) { return file.path.ends_with(".body"); }
const Status kUnknown = Status::Rebuild("the answer is lost");

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

  static CheckpointFiles Open(const fs::path& dir) { return OpenCheckpointFiles(dir).value(); }
  static Status Put(CheckpointFiles& store, Epoch epoch, const std::string& bytes) {
    ByteSpool spool;
    spool.Write(bytes);
    return store.PutIfAbsent(kPartition, epoch, &spool);
  }
  Status Put(Epoch epoch, const std::string& bytes) {
    CheckpointFiles store = Open(dir_);
    return Put(store, epoch, bytes);
  }
  CheckpointFiles Hooked(HookedStorage::Hook on_put) {
    return {std::make_shared<HookedStorage>(OpenStorage(dir_, {}).value(), std::move(on_put)),
            dir_};
  }
  Status Claim(Epoch epoch) { return Open(dir_).PutIfAbsent(kPartition, epoch, nullptr); }
  Result<StoredCheckpoint> Latest() { return Open(dir_).Latest(kPartition); }
  fs::path partition_dir() { return dir_ / "kafka%3Ax%2Fraw" / "2"; }
  fs::path entry(int epoch) {
    return partition_dir() / ("0000000000000000000" + std::to_string(epoch) + ".entry");
  }
  // The files, without the unique parts of their names.
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(partition_dir())) {
      names.push_back(file.path().filename());
      if (file.path().extension() == ".body") names.back() = names.back().substr(0, 20) + ".body";
    }
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
  EXPECT_THAT(Names(), ElementsAre("00000000000000000003.body", "00000000000000000003.entry",
                                   "00000000000000000004.entry", "00000000000000000005.entry"));
  ASSERT_TRUE(Put({6}, "six").ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000006.body", "00000000000000000006.entry"));
}

TEST_F(CheckpointFilesTest, SettingsArePutOnce) {
  CheckpointFiles store = Open(dir_ / "new");
  EXPECT_EQ(store.Settings().value(), std::nullopt);
  ASSERT_TRUE(store.PutSettingsIfAbsent("window = 1\n").ok());
  EXPECT_EQ(store.Settings().value(), "window = 1\n");
  ASSERT_TRUE(store.PutSettingsIfAbsent("window = 2\n").ok());
  EXPECT_EQ(Open(dir_ / "new").Settings().value(), "window = 1\n");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_ / "new"), {}), 1);
}

TEST_F(CheckpointFilesTest, ListsItsPartitions) {
  EXPECT_THAT(Open(dir_ / "nowhere").Partitions().value(), ElementsAre());
  CheckpointFiles store = Open(dir_);
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
  EXPECT_EQ(Names().size(), 4u);
}

TEST_F(CheckpointFilesTest, RemovesWhatAnInterruptedPutHasLeft) {
  ASSERT_TRUE(Put({1}, "one").ok());
  std::ofstream(partition_dir() / ".put-123-1") << "half";
  CheckpointFiles store = Open(dir_);
  EXPECT_EQ(store.Latest(kPartition).value().checkpoint, "one");
  EXPECT_THAT(Names(), ElementsAre("00000000000000000001.body", "00000000000000000001.entry"));
  // Later ones may be under way.
  std::ofstream(partition_dir() / ".put-123-2") << "half";
  ASSERT_TRUE(store.Latest(kPartition).ok());
  EXPECT_EQ(Names().size(), 3u);
}

TEST_F(CheckpointFilesTest, AnOlderOwnerIsNotBelievedWhenNewerEntriesCameMeanwhile) {
  ASSERT_TRUE(Claim({1}).ok());
  CheckpointFiles store = Hooked([this](Storage&, const NewFile& file) {
    if (IsEntry(file)) {
      EXPECT_TRUE(Claim({2}).ok());
      EXPECT_TRUE(Put({3}, "new").ok());  // removes entry 2
    }
    return std::nullopt;
  });
  EXPECT_EQ(Put(store, {2}, "old").code(), StatusCode::kRebuild);
  EXPECT_EQ(Latest().value().newest, Epoch{3});
  EXPECT_EQ(Latest().value().checkpoint, "new");
}

// ---- lost answers ----

TEST_F(CheckpointFilesTest, AnEntryThatIsFoundAfterALostAnswerIsOurs) {
  CheckpointFiles store = Hooked([](Storage& under, const NewFile& file) {
    if (!IsEntry(file)) return std::optional<Result<PutOutcome>>();
    EXPECT_TRUE(under.PutFiles({&file, 1}, PutMode::kIfAbsent).ok());
    return std::optional<Result<PutOutcome>>(kUnknown);
  });
  EXPECT_TRUE(store.PutIfAbsent(kPartition, {1}, nullptr).ok());
  EXPECT_TRUE(Put(store, {2}, "two").ok());
  EXPECT_EQ(Latest().value().checkpoint, "two");
}

// Both have tried to put the same: a claim, or the same counts.
TEST_F(CheckpointFilesTest, AnEntryOfAnotherOwnerIsNotOurs) {
  CheckpointFiles store = Hooked([this](Storage&, const NewFile& file) {
    if (!IsEntry(file)) return std::optional<Result<PutOutcome>>();
    EXPECT_TRUE((file.path.ends_with("1.entry") ? Claim({1}) : Put({2}, "two")).ok());
    return std::optional<Result<PutOutcome>>(kUnknown);
  });
  EXPECT_EQ(store.PutIfAbsent(kPartition, {1}, nullptr).code(), StatusCode::kRebuild);
  EXPECT_EQ(Put(store, {2}, "two").code(), StatusCode::kRebuild);
}

TEST_F(CheckpointFilesTest, AnEntryThatIsNotFoundMayComeLater) {
  CheckpointFiles store = Hooked([](Storage&, const NewFile& file) {
    return IsEntry(file) ? std::optional<Result<PutOutcome>>(kUnknown) : std::nullopt;
  });
  EXPECT_EQ(store.PutIfAbsent(kPartition, {1}, nullptr).code(), StatusCode::kRebuild);
  EXPECT_EQ(Latest().value().newest, Epoch{0});
}

// It may still replace a file of the same name: no name is used twice.
TEST_F(CheckpointFilesTest, ABodyWhoseAnswerIsLostIsPutAgainUnderAnotherName) {
  std::vector<std::pair<std::string, std::string>> under_way;
  CheckpointFiles store = Hooked([&](Storage&, const NewFile& file) {
    if (!IsBody(file) || !under_way.empty()) return std::optional<Result<PutOutcome>>();
    std::string bytes(static_cast<size_t>(file.content.size()), '\0');
    EXPECT_TRUE(file.content.Read(0, bytes).ok());
    under_way.emplace_back(file.path, bytes);
    return std::optional<Result<PutOutcome>>(kUnknown);
  });
  EXPECT_EQ(Put(store, {1}, "first").code(), StatusCode::kRetry);
  EXPECT_EQ(Latest().value().newest, Epoch{0});
  EXPECT_TRUE(Put(store, {1}, "second").ok());
  std::ofstream(dir_ / under_way[0].first) << under_way[0].second;
  EXPECT_EQ(Latest().value().checkpoint, "second");
  EXPECT_EQ(Names().size(), 3u);
  ASSERT_TRUE(store.RemoveRuns(kPartition, {1}, {}).ok());
  EXPECT_EQ(Names().size(), 2u);
  EXPECT_EQ(Latest().value().checkpoint, "second");
}

TEST_F(CheckpointFilesTest, RemovesTheBodiesThatNoEntryWillEverName) {
  ASSERT_TRUE(Put({2}, "two").ok());
  const auto stray = [this](int epoch) {
    return partition_dir() / ("0000000000000000000" + std::to_string(epoch) + "-x-1.body");
  };
  for (const int epoch : {1, 2, 3, 4}) std::ofstream(stray(epoch)) << "x";
  ASSERT_TRUE(Claim({3}).ok());
  EXPECT_EQ(Open(dir_).RemoveRuns(kPartition, {2}, {}).code(), StatusCode::kRebuild);
  EXPECT_EQ(Names().size(), 7u);
  ASSERT_TRUE(Open(dir_).RemoveRuns(kPartition, {3}, {}).ok());
  for (const int epoch : {1, 2, 3}) EXPECT_FALSE(fs::exists(stray(epoch))) << epoch;
  EXPECT_TRUE(fs::exists(stray(4)));  // of an owner that is about to put its checkpoint
  EXPECT_EQ(Latest().value().checkpoint, "two");
}

// A reader whose checkpoint is removed under its hands looks again; one whose body is lost says so.
TEST_F(CheckpointFilesTest, ABodyThatIsMissingIsForAPerson) {
  ASSERT_TRUE(Put({1}, "one").ok());
  for (const auto& file : fs::directory_iterator(partition_dir()))
    if (file.path().extension() == ".body") fs::remove(file.path());
  const Status missing = Latest().status();
  EXPECT_EQ(missing.code(), StatusCode::kStop);
  EXPECT_THAT(missing.message(), HasSubstr("it is missing, and an entry names it"));
}

// What earlier programs wrote: the checkpoint inside of its entry.
TEST_F(CheckpointFilesTest, ReadsEntriesOfFormat1) {
  const auto write = [this](int epoch, int kind, const std::string& bytes) {
    ByteWriter fields, out;
    fields.Varint(static_cast<uint64_t>(kind));
    fields.Signed(epoch);
    fields.String(kPartition.source);
    fields.Signed(kPartition.partition);
    out.Raw("SLCP", 4);
    out.Fixed32(1);
    out.Fixed32(static_cast<uint32_t>(fields.size()));
    out.Raw(fields.bytes().data(), fields.size());
    out.Raw(bytes.data(), bytes.size());
    out.Fixed64(bytes.size());
    Crc crc;
    crc.Add(out.bytes());
    out.Fixed32(crc.value());
    out.Raw("PCLS", 4);
    std::ofstream(entry(epoch), std::ios::binary) << out.bytes();
  };
  fs::create_directories(partition_dir());
  const std::string large(300'000, 'x');
  write(4, 1, large);
  write(5, 0, "");
  EXPECT_EQ(Latest().value().newest, Epoch{5});
  EXPECT_EQ(Latest().value().checkpoint, large);
  CheckpointFiles store = Open(dir_);
  ASSERT_TRUE(store.RemoveRuns(kPartition, {5}, {}).ok());
  EXPECT_EQ(Claim({5}).code(), StatusCode::kRebuild);
  ASSERT_TRUE(Put({6}, "six").ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000006.body", "00000000000000000006.entry"));
}

// Whatever happens to the newest checkpoint, an older one never takes its place silently.
TEST_F(CheckpointFilesTest, SaysWhenTheNewestCheckpointIsDamaged) {
  ASSERT_TRUE(Put({1}, std::string(20, 'a')).ok());
  ASSERT_TRUE(Claim({2}).ok());
  for (const auto& file : fs::directory_iterator(partition_dir())) {
    const fs::path& path = file.path();
    if (path == entry(2)) continue;
    std::stringstream good;
    good << std::ifstream(path, std::ios::binary).rdbuf();
    const auto write = [&path](const std::string& bytes) {
      std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    };
    for (size_t at = 0; at < good.str().size(); ++at) {
      std::string bytes = good.str();
      bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
      write(bytes);
      const Status damaged = Latest().status();
      ASSERT_EQ(damaged.code(), StatusCode::kStop) << at;
      ASSERT_THAT(damaged.message(), HasSubstr(path.native()));
      write(good.str().substr(0, at));
      ASSERT_EQ(Latest().status().code(), StatusCode::kStop) << at;
    }
    write(good.str() + "x");
    EXPECT_EQ(Latest().status().code(), StatusCode::kStop);
    write(good.str());
    EXPECT_TRUE(Latest().ok());
  }
}

TEST_F(CheckpointFilesTest, KnowsAnEntryThatLiesInAnotherPlace) {
  ASSERT_TRUE(Put({1}, "one").ok());
  fs::copy_file(entry(1), entry(2));
  const Status wrong = Latest().status();
  EXPECT_EQ(wrong.code(), StatusCode::kStop);
  EXPECT_THAT(wrong.message(), HasSubstr("it is entry 1 of 'kafka:x/raw' partition 2"));
}

TEST_F(CheckpointFilesTest, SaysWhichRunIsDamagedOrMissing) {
  CheckpointFiles store = Open(dir_);
  ASSERT_TRUE(store.PutRun(kPartition, {{7}, 2}, std::string(20, 'a')).ok());
  const fs::path path = dir_ / CheckpointFiles::RunPath(kPartition, {{7}, 2});
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
  fs::rename(path, dir_ / CheckpointFiles::RunPath(kPartition, {{7}, 3}));
  EXPECT_THAT(store.ReadRun(kPartition, {{7}, 3}).status().message(),
              HasSubstr("it is run 7-2 of 'kafka:x/raw' partition 2"));
  EXPECT_THAT(store.ReadRun(kPartition, {{7}, 2}).status().message(), HasSubstr(path.native()));
}

TEST_F(CheckpointFilesTest, EntriesAndRunsDoNotTouchEachOther) {
  CheckpointFiles store = Open(dir_);
  ASSERT_TRUE(Put({1}, "one").ok());
  ASSERT_TRUE(store.PutRun(kPartition, {{1}, 1}, "run").ok());
  ASSERT_TRUE(Put({2}, "two").ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000001-00000000000000000001.run",
                                   "00000000000000000002.body", "00000000000000000002.entry"));
  ASSERT_TRUE(store.RemoveRuns(kPartition, {2}, {}).ok());
  EXPECT_THAT(Names(), ElementsAre("00000000000000000002.body", "00000000000000000002.entry"));
}

// The file system of the directory is unmounted: its path leads to the empty mount point.
TEST_F(CheckpointFilesTest, AnEmptyMountPointIsNoStore) {
  const fs::path dir = dir_ / "checkpoints", away = dir_ / "away";
  CheckpointFiles store = Open(dir);
  ASSERT_TRUE(store.PutSettingsIfAbsent("window = 1\n").ok());
  ASSERT_TRUE(store.PutIfAbsent(kPartition, {1}, nullptr).ok());
  ASSERT_TRUE(Put(store, {2}, "two").ok());
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
    EXPECT_THAT(removed.message(), HasSubstr("is not the folder that was opened"));
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
  EXPECT_EQ(Names().size(), 2u);
  EXPECT_EQ(Latest().value().checkpoint, "one");
  EXPECT_TRUE(Put({2}, std::string(1'000'000, 'x')).ok());
}

TEST_F(CheckpointFilesTest, WhatAPersonMustCorrectIsTriedAgain) {
  std::ofstream(dir_ / "file") << "x";
  CheckpointFiles store = Open(dir_ / "file" / "below");
  EXPECT_EQ(store.PutIfAbsent(kPartition, {1}, nullptr).code(), StatusCode::kRetry);
}

}  // namespace
}  // namespace sightline
