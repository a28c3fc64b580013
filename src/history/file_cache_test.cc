#include "history/file_cache.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sightline {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

constexpr const char* kLake = "hdfs://prod/lake";

// Files in memory. A read may be held up, fail, or end too early.
class FakeStorage final : public Storage {
 public:
  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override {
    std::unique_lock lock(mutex_);
    ++reads;
    most_at_once = std::max(most_at_once, ++reading_);
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_up_; });
    --reading_;
    if (!failure_.ok()) return failure_;
    const auto found = files_.find(path);
    if (found == files_.end()) return std::optional<std::string>();
    const int64_t size = std::ssize(found->second);
    const int64_t first = std::min(range.first, size), next = std::min(range.next, size);
    std::string bytes =
        found->second.substr(static_cast<size_t>(first), static_cast<size_t>(next - first));
    if (torn_ > 0) {
      --torn_;
      bytes.resize(bytes.size() / 2);
    }
    return std::optional(std::move(bytes));
  }
  Result<PutOutcome> PutFiles(std::span<const NewFile>, PutMode) override {
    return Status::Stop("a cache writes nothing");
  }
  Result<std::vector<FileInfo>> List(std::string_view) override {
    return Status::Stop("a cache knows the files from the log");
  }
  Result<std::optional<FileInfo>> Stat(std::string_view) override {
    return Status::Stop("a cache knows the lengths from the log");
  }
  Status Delete(std::string_view) override { return Status::Stop("a cache deletes nothing"); }

  void Put(const std::string& path, std::string content) {
    const std::lock_guard lock(mutex_);
    files_[path] = std::move(content);
  }
  void Remove(const std::string& path) {
    const std::lock_guard lock(mutex_);
    files_.erase(path);
  }
  void Fail(Status failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }
  void Tear(int reads) {
    const std::lock_guard lock(mutex_);
    torn_ = reads;
  }
  void HoldUp(bool held_up) {
    const std::lock_guard lock(mutex_);
    held_up_ = held_up;
    changed_.notify_all();
  }
  void WaitForReads(int64_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reads >= count; });
  }
  std::atomic<int64_t> reads = 0;
  int most_at_once = 0;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string, std::less<>> files_;
  Status failure_ = Status::Ok();
  bool held_up_ = false;
  int reading_ = 0, torn_ = 0;
};

const HoldLimits kPatience{.deadline = steady_clock::now() + std::chrono::hours(1), .go_on = {}};

class FileCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    options_.folder = dir_ / "cache";
    for (const char c : std::string("abcdefghij"))
      storage_.Put(fmt::format("counts/day={}/{}", c, c), std::string(10, c));
    Open();
  }
  void TearDown() override {
    storage_.HoldUp(false);
    cache_.reset();
    fs::remove_all(dir_);
  }
  void Open(const std::string& lake = kLake) {
    cache_.reset();
    auto cache = FileCache::Open(lake, options_, storage_);
    ASSERT_TRUE(cache.ok()) << cache.status().message();
    cache_ = std::move(cache).value();
  }
  void OpenWith(int64_t bytes_max) {
    options_.bytes_max = bytes_max;
    Open();
  }
  static std::vector<NeededFile> Files(const std::string& names) {
    std::vector<NeededFile> files;
    for (const char c : names)
      files.push_back({.path = fmt::format("counts/day={}/{}", c, c), .bytes = 10});
    return files;
  }
  Holding Hold(const std::string& names) { return cache_->Hold(Files(names), kPatience); }
  // The copies on disk, by the letters that they have.
  std::string There() const {
    std::string there;
    for (const auto& entry : fs::recursive_directory_iterator(cache_->root())) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path());
      const std::string bytes(std::istreambuf_iterator<char>(file), {});
      EXPECT_EQ(bytes, std::string(10, bytes[0])) << entry.path();
      EXPECT_EQ(entry.path().filename(), bytes.substr(0, 1));
      there += bytes[0];
    }
    std::ranges::sort(there);
    return there;
  }
  double Of(const std::string& metric) const {
    for (const Metric& one : cache_->metrics())
      if (one.name == "sightline_lake_cache_" + metric) return one.value;
    ADD_FAILURE() << metric;
    return -1;
  }

  fs::path dir_;
  FakeStorage storage_;
  FileCacheOptions options_{.folder = {}, .bytes_max = 50, .piece_bytes = 4};
  std::unique_ptr<FileCache> cache_;
};

TEST_F(FileCacheTest, FilesAreFetchedOnceAndKept) {
  const Holding first = Hold("abc");
  ASSERT_TRUE(first.status.ok()) << first.status.message();
  EXPECT_EQ(There(), "abc");
  EXPECT_EQ(storage_.reads, 9);  // pieces of 4 bytes
  ASSERT_TRUE(Hold("cab").status.ok());
  EXPECT_EQ(storage_.reads, 9);
  EXPECT_EQ(Of("hits_total"), 3);
  EXPECT_EQ(Of("misses_total"), 3);
  EXPECT_EQ(Of("fetched_bytes_total"), 30);
  EXPECT_EQ(Of("bytes"), 30);
  EXPECT_TRUE(fs::is_empty(dir_ / "cache" / "incoming"));
}

TEST_F(FileCacheTest, AFileOfNoBytesIsAFile) {
  storage_.Put("counts/nothing", "");
  EXPECT_TRUE(cache_->Hold({{.path = "counts/nothing", .bytes = 0}}, kPatience).status.ok());
  EXPECT_TRUE(fs::exists(fs::path(cache_->root()) / "counts/nothing"));
}

TEST_F(FileCacheTest, TheOldestThatNobodyHoldsMakesRoom) {
  Holding a = Hold("a");
  (void)Hold("b");
  (void)Hold("cd");
  (void)Hold("b");  // used again
  ASSERT_TRUE(Hold("ef").status.ok());
  EXPECT_EQ(There(), "abdef");
  EXPECT_FALSE(fs::exists(fs::path(cache_->root()) / "counts/day=c")) << "its folder stays";
  a.files.reset();
  ASSERT_TRUE(Hold("ghij").status.ok());
  EXPECT_EQ(There(), "aghij") << "what was held last is the newest";
}

TEST_F(FileCacheTest, ASetThatNeverFitsIsRefusedBeforeAnythingIsFetched) {
  const Holding holding = Hold("abcdef");
  EXPECT_TRUE(holding.too_large);
  EXPECT_EQ(holding.status.code(), StatusCode::kStop);
  EXPECT_THAT(holding.status.message(), HasSubstr("6 files with 0.0 MiB from 'hdfs://prod/lake'"));
  EXPECT_THAT(holding.status.message(), HasSubstr("query.cache_max"));
  EXPECT_EQ(storage_.reads, 0);
}

TEST_F(FileCacheTest, WhoFindsNoRoomWaitsForIt) {
  Holding abc = Hold("abc");
  const auto soon = [] { return steady_clock::now() + milliseconds(30); };
  const Holding late = cache_->Hold(Files("defg"), {.deadline = soon(), .go_on = {}});
  EXPECT_EQ(late.status.code(), StatusCode::kRetry);
  EXPECT_THAT(late.status.message(), HasSubstr("other questions hold"));
  EXPECT_EQ(There(), "abc") << "nothing is fetched without room for all";
  std::atomic<bool> done = false;
  std::jthread waits([&] {
    EXPECT_TRUE(Hold("defg").status.ok());
    done = true;
  });
  EXPECT_FALSE(done);
  abc.files.reset();
  waits.join();
  EXPECT_TRUE(done);
}

TEST_F(FileCacheTest, TwoQuestionsFetchAFileOnce) {
  options_.piece_bytes = 100;
  Open();
  storage_.HoldUp(true);
  std::jthread one([&] { EXPECT_TRUE(Hold("ab").status.ok()); });
  storage_.WaitForReads(2);
  std::jthread other([&] { EXPECT_TRUE(Hold("ba").status.ok()); });
  storage_.HoldUp(false);
  one.join();
  other.join();
  EXPECT_EQ(storage_.reads, 2);
}

TEST_F(FileCacheTest, ManyFilesComeAtTheSameTimeButNotTooMany) {
  options_.fetches_max = 3;
  Open();
  storage_.HoldUp(true);
  std::jthread asks([&] { EXPECT_TRUE(Hold("abcde").status.ok()); });
  storage_.WaitForReads(3);
  storage_.HoldUp(false);
  asks.join();
  EXPECT_EQ(storage_.most_at_once, 3);
}

TEST_F(FileCacheTest, AfterTheDeadlineWhatCameIsKept) {
  (void)Hold("a");
  storage_.HoldUp(true);
  const Holding late =
      cache_->Hold(Files("ab"), {.deadline = steady_clock::now() + milliseconds(20), .go_on = {}});
  EXPECT_EQ(late.status.code(), StatusCode::kRetry);
  EXPECT_THAT(late.status.message(), HasSubstr("2 files with 0.0 MiB"));
  EXPECT_THAT(late.status.message(), HasSubstr("not all of them came"));
  EXPECT_FALSE(late.files);
  storage_.HoldUp(false);
  EXPECT_TRUE(Hold("ab").status.ok());
  EXPECT_GE(Of("hits_total"), 2) << "a is kept, and b, if it was under way";
}

TEST_F(FileCacheTest, WhatNobodyWantsAnyMoreIsNotFetchedFurther) {
  options_.fetches_max = 1;
  Open();
  storage_.HoldUp(true);
  std::atomic<bool> left = false;
  std::jthread asks([&] {
    const Holding holding = cache_->Hold(
        Files("abc"), {.deadline = kPatience.deadline, .go_on = [&] {
                         return left ? Status::Stop("the asker has left") : Status::Ok();
                       }});
    EXPECT_EQ(holding.status.message(), "the asker has left");
  });
  storage_.WaitForReads(1);
  left = true;
  asks.join();
  EXPECT_EQ(Of("bytes"), 10) << "the queue still has them";
  storage_.HoldUp(false);
  ASSERT_TRUE(Hold("d").status.ok());
  EXPECT_EQ(There(), "d");
  EXPECT_EQ(storage_.reads, 4) << "one piece of a, three of d";
  EXPECT_EQ(Of("failures_total"), 0);
}

TEST_F(FileCacheTest, WhoComesWhileAFileIsGivenUpGetsIt) {
  storage_.HoldUp(true);
  (void)cache_->Hold(Files("a"), {.deadline = kPatience.deadline, .go_on = [&] {
                                    return storage_.reads > 0 ? Status::Stop("") : Status::Ok();
                                  }});
  std::jthread asks([&] { EXPECT_TRUE(Hold("a").status.ok()); });
  storage_.HoldUp(false);
  asks.join();
  EXPECT_EQ(There(), "a");
}

TEST_F(FileCacheTest, AFailureIsToldAndTheNextQuestionTriesAgain) {
  storage_.Fail(Status::Retry("the NameNode is away"));
  const Holding failed = Hold("ab");
  EXPECT_EQ(failed.status.code(), StatusCode::kRetry);
  EXPECT_EQ(failed.status.message(), "the NameNode is away");
  EXPECT_EQ(failed.failed_path, "counts/day=a/a");
  EXPECT_GE(Of("failures_total"), 1);
  storage_.Fail(Status::Ok());
  EXPECT_TRUE(Hold("ab").status.ok());
  EXPECT_EQ(There(), "ab");
  storage_.Fail(Status::Retry("the NameNode is away"));
  EXPECT_TRUE(Hold("ab").status.ok()) << "what is here needs nobody else";
}

TEST_F(FileCacheTest, OnlyTheLengthOfTheLogIsWhole) {
  storage_.Tear(1);  // one transfer is torn: the file is read again
  EXPECT_TRUE(Hold("a").status.ok());
  storage_.Tear(1'000);
  EXPECT_THAT(Hold("b").status.message(),
              HasSubstr("'counts/day=b/b' in 'hdfs://prod/lake' has not"));
  storage_.Tear(0);
  for (const char* content : {"ccccccccccc", "ccccccccc", ""}) {
    storage_.Put("counts/day=c/c", content);
    const Holding wrong = Hold("c");
    EXPECT_EQ(wrong.status.code(), StatusCode::kStop);
    EXPECT_THAT(wrong.status.message(), HasSubstr("has not the 10 bytes"));
  }
  storage_.Remove("counts/day=d/d");
  EXPECT_THAT(Hold("d").status.message(), HasSubstr("'counts/day=d/d' is missing"));
  EXPECT_EQ(There(), "a");
  EXPECT_EQ(Of("bytes"), 10);
  EXPECT_TRUE(Hold("b").status.ok());
}

TEST_F(FileCacheTest, AStartUsesWhatIsWholeAndRemovesTheRest) {
  (void)Hold("ab");
  std::ofstream(dir_ / "cache" / "incoming" / "7") << "half a f";
  const int64_t reads = storage_.reads;
  Open();
  EXPECT_TRUE(fs::is_empty(dir_ / "cache" / "incoming"));
  EXPECT_EQ(Of("bytes"), 20);
  ASSERT_TRUE(Hold("ab").status.ok());
  EXPECT_EQ(storage_.reads, reads);
  OpenWith(10);  // the bound is lower now
  EXPECT_EQ(There().size(), 1U);
}

TEST_F(FileCacheTest, CopiesOfAnotherLakeOrAnotherStartOfTheMachineAreRemoved) {
  (void)Hold("ab");
  Open("hdfs://other/lake");
  EXPECT_EQ(There(), "");
  (void)Hold("ab");
  std::ofstream(dir_ / "cache" / "of") << "hdfs://other/lake\nanother start\n";
  Open("hdfs://other/lake");
  EXPECT_EQ(There(), "");
}

TEST_F(FileCacheTest, ACopyThatIsNotTrustedIsFetchedAnew) {
  Holding held = Hold("a");
  std::ofstream(fs::path(cache_->root()) / "counts/day=a/a") << "damaged!!!";
  cache_->Distrust("counts/day=a/a");
  ASSERT_TRUE(Hold("a").status.ok());
  EXPECT_EQ(There(), "a");
  held.files.reset();
  EXPECT_EQ(There(), "a") << "the new copy stays";
  (void)Hold("b");
  cache_->Distrust("counts/day=b/b");
  EXPECT_EQ(There(), "a");
  held = Hold("c");
  cache_->Distrust("counts/day=c/c");
  held.files.reset();
  EXPECT_EQ(There(), "a") << "what nobody fetched anew goes with its last holder";
  EXPECT_EQ(Of("bytes"), 10);
}

TEST_F(FileCacheTest, APathThatLeavesTheFolderIsRefused) {
  for (const char* path : {"../a", "/etc/passwd", "counts/../../a", "counts//a", ""}) {
    const Holding holding = cache_->Hold({{.path = path, .bytes = 10}}, kPatience);
    EXPECT_EQ(holding.status.code(), StatusCode::kStop) << path;
  }
  EXPECT_EQ(storage_.reads, 0);
}

TEST_F(FileCacheTest, OneProcessUsesAFolder) {
  const auto second = FileCache::Open(kLake, options_, storage_);
  EXPECT_THAT(second.status().message(), HasSubstr("a data folder of its own"));
}

TEST_F(FileCacheTest, ATemporaryFolderGoesWithItsProcess) {
  auto temporary = FileCache::Open(kLake, {.folder = {}}, storage_);
  ASSERT_TRUE(temporary.ok()) << temporary.status().message();
  const fs::path root = temporary.value()->root();
  EXPECT_TRUE(temporary.value()->Hold(Files("a"), kPatience).status.ok());
  EXPECT_TRUE(fs::exists(root / "counts/day=a/a"));
  // That of a process which was killed long ago has nobody who holds its lock.
  const fs::path abandoned = fs::temp_directory_path() / "sightline-query-test-abandoned";
  fs::create_directories(abandoned);
  std::ofstream(abandoned / "lock") << "";
  fs::last_write_time(abandoned / "lock", fs::file_time_type::clock::now() - std::chrono::hours(1));
  const auto another = FileCache::Open(kLake, {.folder = {}}, storage_);
  EXPECT_FALSE(fs::exists(abandoned));
  EXPECT_TRUE(fs::exists(root));
  temporary = Status::Stop("closed");
  EXPECT_FALSE(fs::exists(root.parent_path()));
}

TEST_F(FileCacheTest, ALakeInAFolderNeedsNoCopies) {
  const auto cache = FileCache::OpenIfNeeded("/srv/lake", {}, storage_);
  ASSERT_TRUE(cache.ok());
  EXPECT_EQ(cache.value(), nullptr);
}

// Whatever happens at once, a question that is told that it has its files has them, whole.
TEST_F(FileCacheTest, ManyQuestionsOverALittleRoom) {
  std::vector<std::jthread> askers;
  for (unsigned seed = 1; seed <= 6; ++seed)
    askers.emplace_back([this, seed] {
      unsigned draw = seed;
      for (int round = 0; round < 100; ++round) {
        std::string names;
        for (int i = 0; i < 4; ++i) names += static_cast<char>('a' + rand_r(&draw) % 10);
        if (rand_r(&draw) % 8 == 0) cache_->Distrust(Files(names)[0].path);
        const bool leaves = rand_r(&draw) % 4 == 0;
        const Holding holding = cache_->Hold(
            Files(names),
            {.deadline = leaves ? steady_clock::now() : kPatience.deadline, .go_on = {}});
        EXPECT_TRUE(holding.status.ok() || leaves) << holding.status.message();
        if (!holding.files) continue;
        for (const NeededFile& file : Files(names)) {
          std::ifstream in(fs::path(cache_->root()) / file.path);
          const std::string bytes(std::istreambuf_iterator<char>(in), {});
          EXPECT_EQ(bytes, std::string(10, file.path.back()));
        }
      }
    });
  askers.clear();
  EXPECT_LE(Of("bytes"), 50);
  ASSERT_TRUE(Hold("abcde").status.ok());
  EXPECT_EQ(There(), "abcde");
  EXPECT_EQ(Of("bytes"), 50);
}

}  // namespace
}  // namespace sightline
