#include "connectors/storage/local_storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace sightline {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LocalStorageTest : public testing::Test {
 protected:
  void SetUp() override {
    const fs::path in = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string name = (in / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }
  fs::path root() const { return dir_ / "a" / "root"; }

  fs::path dir_;
};

TEST_F(LocalStorageTest, KeepsWhatIsPut) {
  LocalStorage storage(root());
  EXPECT_EQ(storage.ReadWhole("x/y").value(), std::nullopt);
  EXPECT_EQ(storage.Stat("x/y").value(), std::nullopt);
  EXPECT_TRUE(storage.List("x").value().empty());
  EXPECT_TRUE(storage.Delete("x/y").ok());
  const std::string bytes("\0one\xff", 5);
  EXPECT_EQ(storage.Put("x/y", bytes, PutMode::kReplace).value(), PutOutcome::kWritten);
  EXPECT_EQ(storage.ReadWhole("x/y").value(), bytes);
  EXPECT_EQ(storage.Put("x/y", "two", PutMode::kIfAbsent).value(), PutOutcome::kTaken);
  EXPECT_EQ(storage.ReadWhole("x/y").value(), bytes);
  EXPECT_EQ(storage.Put("x/y", "three", PutMode::kReplace).value(), PutOutcome::kWritten);
  EXPECT_EQ(storage.ReadWhole("x/y").value(), "three");
  EXPECT_EQ(storage.Stat("x/y").value()->size_bytes, 5);
  EXPECT_GT(storage.Stat("x/y").value()->modified_ms, 1'600'000'000'000);
  EXPECT_EQ(storage.Stat("x").value(), std::nullopt);
  EXPECT_TRUE(storage.Delete("x/y").ok());
  EXPECT_EQ(storage.ReadWhole("x/y").value(), std::nullopt);
}

TEST_F(LocalStorageTest, ReadsRanges) {
  LocalStorage storage(root());
  ASSERT_TRUE(storage.Put("f", "0123456789", PutMode::kReplace).ok());
  EXPECT_EQ(storage.Read("f", {0, 3}).value(), "012");
  EXPECT_EQ(storage.Read("f", {4, 6}).value(), "45");
  EXPECT_EQ(storage.Read("f", {8, 100}).value(), "89");
  EXPECT_EQ(storage.Read("f", {10, 20}).value(), "");
  EXPECT_EQ(storage.Read("f", {30, 40}).value(), "");
}

TEST_F(LocalStorageTest, ListsEveryDepthInOrder) {
  LocalStorage storage(root());
  for (const char* path : {"t/b/2", "t/a", "t/b/1", "tt/x", "t/b/c/3"})
    ASSERT_TRUE(storage.Put(path, path, PutMode::kIfAbsent).ok());
  std::vector<std::string> paths;
  const std::vector<FileInfo> files = storage.List("t").value();
  for (const FileInfo& file : files) {
    paths.push_back(file.path);
    EXPECT_EQ(file, *storage.Stat(file.path).value());
  }
  EXPECT_THAT(paths, testing::ElementsAre("t/a", "t/b/1", "t/b/2", "t/b/c/3"));
}

TEST_F(LocalStorageTest, NothingLeavesTheRoot) {
  LocalStorage storage(root());
  ASSERT_TRUE(storage.Put("in/f", "x", PutMode::kReplace).ok());
  std::ofstream(dir_ / "secret") << "secret";
  fs::create_directory_symlink(dir_, root() / "out");
  fs::create_symlink(dir_ / "secret", root() / "in" / "link");
  fs::create_directory_symlink(root() / "in", root() / "inside");
  const std::string zero("a\0b", 3);
  for (const std::string& path :
       std::vector<std::string>{"", "/etc/passwd", "..", "../secret", "in/../../secret", "./f",
                                "in//f", "in/", "out/secret", "in/link", "out/new/f", zero}) {
    EXPECT_EQ(storage.ReadWhole(path).status().code(), StatusCode::kStop) << path;
    if (path == "in/link") continue;  // a put replaces the link, a delete removes it
    EXPECT_EQ(storage.Put(path, "x", PutMode::kReplace).status().code(), StatusCode::kStop) << path;
    EXPECT_EQ(storage.Delete(path).code(), StatusCode::kStop) << path;
    EXPECT_EQ(storage.Stat(path).status().code(), StatusCode::kStop) << path;
  }
  EXPECT_EQ(storage.List("out").status().code(), StatusCode::kStop);
  EXPECT_EQ(storage.Stat("in/link").value(), std::nullopt);
  // A link that stays inside is refused, too: it may be exchanged at any time.
  EXPECT_THAT(storage.ReadWhole("inside/f").status().message(), HasSubstr("symbolic link"));
  EXPECT_EQ(storage.List("inside").status().code(), StatusCode::kStop);
  ASSERT_TRUE(storage.Put("in/link", "mine", PutMode::kReplace).ok());
  std::string secret;
  std::ifstream(dir_ / "secret") >> secret;
  EXPECT_EQ(secret, "secret");
}

TEST_F(LocalStorageTest, OfManyWhoPutOneNameOneWins) {
  constexpr int kWriters = 4;
  constexpr int kNames = 50;
  std::array<std::atomic<int>, kNames> won{};
  std::array<std::atomic<int>, kNames> winner{};
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer)
    writers.emplace_back([&, writer] {
      LocalStorage storage(root());
      for (size_t name = 0; name < kNames; ++name) {
        const Result<PutOutcome> put =
            storage.Put("log/" + std::to_string(name), std::to_string(writer), PutMode::kIfAbsent);
        if (!put.ok()) won[name] = -100;
        if (put.ok() && put.value() == PutOutcome::kWritten) {
          ++won[name];
          winner[name] = writer;
        }
      }
    });
  for (std::thread& writer : writers) writer.join();
  LocalStorage storage(root());
  for (size_t name = 0; name < kNames; ++name) {
    EXPECT_EQ(won[name], 1) << name;
    EXPECT_EQ(storage.ReadWhole("log/" + std::to_string(name)).value(),
              std::to_string(winner[name]));
  }
  EXPECT_EQ(storage.List("log").value().size(), size_t{kNames});  // no temporary files
}

// A file size limit makes a write fail as a full disk does, after a part of it.
TEST_F(LocalStorageTest, AFailedPutLeavesNothing) {
  LocalStorage storage(root());
  ASSERT_TRUE(storage.Put("f", "old", PutMode::kReplace).ok());
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string large(5000, 'x');
    const bool right =
        storage.Put("f", large, PutMode::kReplace).status().code() == StatusCode::kRetry &&
        storage.Put("g", large, PutMode::kIfAbsent).status().code() == StatusCode::kRetry;
    _exit(right ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(storage.ReadWhole("f").value(), "old");
  EXPECT_EQ(fs::directory_iterator(root())->path().filename(), "f");
  EXPECT_EQ(std::distance(fs::directory_iterator(root()), {}), 1);
}

TEST_F(LocalStorageTest, PutsManyFilesAtOnce) {
  LocalStorage storage(root());
  for (const size_t count : {size_t{0}, size_t{1}, size_t{16}, size_t{17}, size_t{600}}) {
    const std::string bytes(count, 'x');
    const auto bytes_of = [&](size_t i) { return std::string_view(bytes).substr(0, i); };
    std::vector<NewFile> files;
    for (size_t i = 0; i < count; ++i)
      files.push_back({"t/" + std::to_string(count) + "/a=" + std::to_string(i % 50) + "/b/" +
                           std::to_string(i),
                       bytes_of(i)});
    ASSERT_TRUE(storage.PutFiles(files, PutMode::kReplace).ok());
    EXPECT_EQ(storage.List("t/" + std::to_string(count)).value().size(), count);
    for (size_t i = 0; i < count; ++i)
      EXPECT_EQ(storage.ReadWhole(files[i].path).value(), bytes_of(i));
  }
  ASSERT_TRUE(storage.Put("blocked", "x", PutMode::kReplace).ok());
  const std::vector<NewFile> blocked = {{"u/1", "x"}, {"blocked/2", "x"}};
  EXPECT_EQ(storage.PutFiles(blocked, PutMode::kReplace).status().code(), StatusCode::kStop);
  EXPECT_TRUE(storage.List("u").value().empty());  // no temporary file is left
}

TEST_F(LocalStorageTest, SaysWhatIsInTheWay) {
  ASSERT_TRUE(fs::create_directories(root()));
  std::ofstream(root() / "file") << "x";
  LocalStorage storage(root());
  const Status put = storage.Put("file/f", "x", PutMode::kReplace).status();
  EXPECT_EQ(put.code(), StatusCode::kStop);
  EXPECT_THAT(put.message(), HasSubstr("file"));
  EXPECT_THAT(put.message(), HasSubstr("correct it, and start again"));
}

// As when the root's file system is unmounted: the path leads to another, empty directory.
TEST_F(LocalStorageTest, NothingIsWrittenIntoAnotherDirectory) {
  LocalStorage storage(root());
  ASSERT_TRUE(storage.Put("t/1", "one", PutMode::kIfAbsent).ok());
  const fs::path aside = dir_ / "aside";
  const std::vector<NewFile> two = {{"t/2", "x"}, {"u/2", "x"}};
  for (const bool is_there : {false, true}) {
    fs::rename(root(), aside);
    if (is_there) fs::create_directory(root());
    const Status put = storage.Put("t/2", "two", PutMode::kIfAbsent).status();
    EXPECT_EQ(put.code(), StatusCode::kStop);
    EXPECT_THAT(put.message(), HasSubstr("is not the folder that was opened"));
    EXPECT_EQ(storage.PutFiles(two, PutMode::kReplace).status().code(), StatusCode::kStop);
    EXPECT_EQ(storage.Delete("t/1").code(), StatusCode::kStop);
    EXPECT_EQ(storage.ReadWhole("t/1").status().code(), StatusCode::kStop);
    EXPECT_EQ(storage.Stat("t/1").status().code(), StatusCode::kStop);
    EXPECT_EQ(storage.List("t").status().code(), StatusCode::kStop);
    EXPECT_EQ(storage.Confirm("t/1").code(), StatusCode::kStop);
    EXPECT_EQ(fs::exists(root()), is_there);
    if (is_there) {
      EXPECT_TRUE(fs::is_empty(root()));
      fs::remove(root());
    }
    fs::rename(aside, root());
    EXPECT_EQ(storage.ReadWhole("t/1").value(), "one");
  }
  EXPECT_EQ(storage.Put("t/2", "two", PutMode::kIfAbsent).value(), PutOutcome::kWritten);
}

// As when the file system was mounted again under another number.
TEST_F(LocalStorageTest, TheSameFilesInAnotherDirectoryAreTheSameRoot) {
  LocalStorage storage(root());
  const fs::path aside = dir_ / "aside";
  ASSERT_TRUE(storage.Put("t/1", "one", PutMode::kReplace).ok());
  fs::rename(root(), aside);
  fs::copy(aside, root(), fs::copy_options::recursive);
  // Nothing proves that it is the same.
  EXPECT_EQ(storage.ReadWhole("t/1").status().code(), StatusCode::kStop);
  fs::remove_all(root());
  fs::rename(aside, root());
  ASSERT_TRUE(storage.Put("t/2", "two", PutMode::kIfAbsent).ok());
  EXPECT_EQ(storage.Put("t/2", "xyz", PutMode::kIfAbsent).value(), PutOutcome::kTaken);
  fs::rename(root(), aside);
  fs::copy(aside, root(), fs::copy_options::recursive);
  std::ofstream(root() / "t" / "2") << "owt";  // the same name and size
  EXPECT_EQ(storage.ReadWhole("t/1").status().code(), StatusCode::kStop);
  std::ofstream(root() / "t" / "2") << "two";
  EXPECT_EQ(storage.ReadWhole("t/1").value(), "one");
  ASSERT_TRUE(storage.Put("t/3", "three", PutMode::kIfAbsent).ok());
  EXPECT_TRUE(fs::exists(root() / "t" / "3"));
  // What was opened first is the other one now.
  fs::remove_all(root());
  fs::rename(aside, root());
  EXPECT_EQ(storage.ReadWhole("t/1").status().code(), StatusCode::kStop);
}

TEST_F(LocalStorageTest, ARootThatWasDeletedIsNotMadeAgain) {
  LocalStorage storage(root());
  ASSERT_TRUE(storage.Put("t/1", "one", PutMode::kIfAbsent).ok());
  fs::remove_all(root());
  EXPECT_EQ(storage.Put("t/2", "two", PutMode::kIfAbsent).status().code(), StatusCode::kStop);
  EXPECT_FALSE(fs::exists(root()));
  fs::create_directory(root());
  EXPECT_EQ(storage.Put("t/2", "two", PutMode::kIfAbsent).status().code(), StatusCode::kStop);
  EXPECT_EQ(LocalStorage(root()).Put("t/2", "two", PutMode::kIfAbsent).value(),
            PutOutcome::kWritten);
}

}  // namespace
}  // namespace sightline
