// What connectors/storage/storage.h promises.
#include "connectors/storage/storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "harness.h"

namespace sightline::conformance {
namespace {

// The calls, as a caller makes them who keeps to the port: again after kRetry, and after an unknown
// outcome reading back what is there.
class StorageTest : public testing::TestWithParam<Implementation<StorageHarness>> {
 protected:
  static std::optional<std::string> Read(Storage& storage, std::string_view path,
                                         ByteRange range = {}) {
    const auto read = Ask([&] { return storage.Read(path, range); });
    EXPECT_TRUE(read.ok()) << read.status().message();
    return read.ok() ? read.value() : std::nullopt;
  }
  // Again, while it is unknown whether the files are there.
  static Status PutFiles(Storage& storage, const std::vector<NewFile>& files) {
    const auto put = [&] { return storage.PutFiles(files, PutMode::kReplace); };
    Status status = Ask(put).status();
    while (status.code() == StatusCode::kRebuild) status = Ask(put).status();
    return status;
  }
  static PutOutcome Put(Storage& storage, std::string_view path, std::string_view bytes,
                        PutMode mode = PutMode::kReplace) {
    const Result<PutOutcome> put = Ask([&] { return storage.Put(path, bytes, mode); });
    if (put.ok()) return put.value();
    EXPECT_EQ(put.status().code(), StatusCode::kRebuild) << put.status().message();
    if (Read(storage, path) != bytes) return PutOutcome::kTaken;
    const Status confirmed = Ask([&] { return storage.Confirm(path); });
    EXPECT_TRUE(confirmed.ok()) << confirmed.message();
    return PutOutcome::kWritten;
  }
  static std::vector<FileInfo> Files(Storage& storage, std::string_view directory) {
    auto files = Ask([&] { return storage.List(directory); });
    EXPECT_TRUE(files.ok()) << files.status().message();
    if (!files.ok()) return {};
    std::erase_if(files.value(), [](const FileInfo& file) {  // what interrupted puts have left
      return file.path.substr(file.path.rfind('/') + 1).starts_with(Storage::kPutPrefix);
    });
    return std::move(files).value();
  }
  static std::vector<std::string> Names(Storage& storage, std::string_view directory) {
    std::vector<std::string> names;
    for (FileInfo& file : Files(storage, directory)) names.push_back(std::move(file.path));
    return names;
  }
  static std::optional<FileInfo> Stat(Storage& storage, std::string_view path) {
    const auto file = Ask([&] { return storage.Stat(path); });
    EXPECT_TRUE(file.ok()) << file.status().message();
    return file.ok() ? file.value() : std::nullopt;
  }
  static void Delete(Storage& storage, std::string_view path) {
    const Status status = Ask([&] { return storage.Delete(path); });
    EXPECT_TRUE(status.ok()) << status.message();
  }

  const std::unique_ptr<StorageHarness> home_ = GetParam().make();
  const std::unique_ptr<Storage> storage_ = home_->Open();
};

TEST_P(StorageTest, APlaceThatDoesNotExistIsEmpty) {
  EXPECT_EQ(Read(*storage_, "x/y"), std::nullopt);
  EXPECT_EQ(Stat(*storage_, "x/y"), std::nullopt);
  EXPECT_TRUE(Files(*storage_, "x").empty());
  Delete(*storage_, "x/y");
}

TEST_P(StorageTest, KeepsWhatIsPut) {
  EXPECT_EQ(Put(*storage_, "x/y", "one"), PutOutcome::kWritten);
  EXPECT_EQ(Put(*storage_, "x/y", "three"), PutOutcome::kWritten);
  EXPECT_EQ(Put(*storage_, "x/y", "four", PutMode::kIfAbsent), PutOutcome::kTaken);
  const auto other = home_->Open();
  EXPECT_EQ(Read(*other, "x/y"), "three");
  EXPECT_EQ(Stat(*other, "x/y")->size_bytes, 5);
  EXPECT_GT(Stat(*other, "x/y")->modified_ms, 1'600'000'000'000);
  EXPECT_EQ(Stat(*other, "x"), std::nullopt);
  Delete(*storage_, "x/y");
  EXPECT_EQ(Read(*other, "x/y"), std::nullopt);
  EXPECT_EQ(Put(*other, "x/y", "five", PutMode::kIfAbsent), PutOutcome::kWritten);
  EXPECT_EQ(Read(*storage_, "x/y"), "five");
}

TEST_P(StorageTest, SaysWhatItsClockSays) {
  Put(*storage_, "a/before", "x");
  const auto now_ms = Ask([&] { return storage_->NowMs("a"); });
  ASSERT_TRUE(now_ms.ok()) << now_ms.status().message();
  Put(*storage_, "a/later", "x");
  EXPECT_LE(Stat(*storage_, "a/before")->modified_ms, now_ms.value());
  EXPECT_GE(Stat(*storage_, "a/later")->modified_ms, now_ms.value());
  EXPECT_EQ(Names(*storage_, "a"), (std::vector<std::string>{"a/before", "a/later"}));
}

TEST_P(StorageTest, KeepsTheBytes) {
  std::string large(5'000'000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2'654'435'761u >> 24);
  for (const std::string& bytes : {std::string(), std::string("\0\r\n\xff", 4), large}) {
    EXPECT_EQ(Put(*storage_, "f", bytes), PutOutcome::kWritten);
    EXPECT_TRUE(Read(*storage_, "f") == bytes) << bytes.size();
    EXPECT_EQ(Stat(*storage_, "f")->size_bytes, static_cast<int64_t>(bytes.size()));
  }
}

TEST_P(StorageTest, ReadsRanges) {
  Put(*storage_, "f", "0123456789");
  EXPECT_EQ(Read(*storage_, "f", {0, 3}), "012");
  EXPECT_EQ(Read(*storage_, "f", {4, 6}), "45");
  EXPECT_EQ(Read(*storage_, "f", {8, 100}), "89");
  EXPECT_EQ(Read(*storage_, "f", {.first = 7}), "789");
  EXPECT_EQ(Read(*storage_, "f", {10, 20}), "");
  EXPECT_EQ(Read(*storage_, "f", {30, 40}), "");
  EXPECT_EQ(Read(*storage_, "f", {5, 5}), "");
  EXPECT_EQ(Read(*storage_, "none", {5, 5}), std::nullopt);
  EXPECT_EQ(Read(*storage_, "none", {5, 9}), std::nullopt);
  Put(*storage_, "empty", "");
  EXPECT_EQ(Read(*storage_, "empty", {0, 3}), "");
  EXPECT_EQ(Read(*storage_, "empty", {2, 3}), "");
}

TEST_P(StorageTest, ListsEveryDepthInOrder) {
  for (const char* path : {"t/b/2", "t/a", "t/b/1", "tt/x", "t/b/c/3"})
    EXPECT_EQ(Put(*storage_, path, path, PutMode::kIfAbsent), PutOutcome::kWritten);
  const auto other = home_->Open();
  EXPECT_THAT(Names(*other, "t"), testing::ElementsAre("t/a", "t/b/1", "t/b/2", "t/b/c/3"));
  EXPECT_THAT(Names(*other, ""), testing::ElementsAre("t/a", "t/b/1", "t/b/2", "t/b/c/3", "tt/x"));
  EXPECT_THAT(Names(*other, "t/b"), testing::ElementsAre("t/b/1", "t/b/2", "t/b/c/3"));
  for (const FileInfo& file : Files(*other, "t")) EXPECT_EQ(file, Stat(*other, file.path));
}

// Writers find the end of a log by listing it.
TEST_P(StorageTest, AListShowsEveryFinishedPut) {
  const auto other = home_->Open();
  std::vector<std::string> names;
  for (int i = 10; i < 30; ++i) {
    names.push_back("log/" + std::to_string(i));
    Put(*storage_, names.back(), "x", PutMode::kIfAbsent);
    EXPECT_EQ(Names(*other, "log"), names);
  }
}

TEST_P(StorageTest, KeepsOddNames) {
  std::vector<std::string> names;
  for (const char* name : {"a b", "a%20b", "a%2Fb", "a+b", "a&b=c", "a;b", "a?b", "a#b", "a'b\"c",
                           "a[1]{2}", "date=2026-11-22", "Übergang", "~a,b@c!$", ".hidden", "..."})
    names.push_back(std::string("odd/") + name + "/" + name);
  for (const std::string& name : names) {
    EXPECT_EQ(Put(*storage_, name, name, PutMode::kIfAbsent), PutOutcome::kWritten) << name;
    EXPECT_EQ(Put(*storage_, name, "x", PutMode::kIfAbsent), PutOutcome::kTaken) << name;
  }
  for (const std::string& name : names) EXPECT_EQ(Read(*storage_, name), name);
  EXPECT_THAT(Names(*storage_, "odd"), testing::UnorderedElementsAreArray(names));
  for (const std::string& name : names) Delete(*storage_, name);
  EXPECT_THAT(Names(*storage_, "odd"), testing::IsEmpty());
}

TEST_P(StorageTest, RefusesPathsThatLeaveTheRoot) {
  for (const std::string& path :
       std::vector<std::string>{"", "/etc/passwd", "..", "../secret", "in/../../secret", "./f",
                                "in//f", "in/", std::string("a\0b", 3)}) {
    EXPECT_EQ(Ask([&] { return storage_->Read(path, {}); }).status().code(), StatusCode::kStop);
    EXPECT_EQ(Ask([&] { return storage_->Put(path, "x", PutMode::kReplace); }).status().code(),
              StatusCode::kStop);
    if (!path.empty()) {
      EXPECT_EQ(Ask([&] { return storage_->List(path); }).status().code(), StatusCode::kStop);
    }
    EXPECT_EQ(Ask([&] { return storage_->Stat(path); }).status().code(), StatusCode::kStop);
    EXPECT_EQ(Ask([&] { return storage_->Delete(path); }).code(), StatusCode::kStop);
  }
}

TEST_P(StorageTest, SaysWhatIsInTheWay) {
  Put(*storage_, "file", "x");
  const auto put = Ask([&] { return storage_->Put("file/f", "x", PutMode::kReplace); });
  EXPECT_EQ(put.status().code(), StatusCode::kStop);
  EXPECT_THAT(put.status().message(), testing::HasSubstr("file"));
  EXPECT_EQ(Read(*storage_, "file"), "x");
}

TEST_P(StorageTest, PutsManyFilesAtOnce) {
  for (const size_t count : {size_t{0}, size_t{1}, size_t{40}}) {
    const std::string bytes(count * 100, 'x');
    const auto bytes_of = [&](size_t i) { return std::string_view(bytes).substr(0, i * 100); };
    std::vector<NewFile> files;
    for (size_t i = 0; i < count; ++i)
      files.push_back(
          {"t/" + std::to_string(count) + "/a=" + std::to_string(i % 5) + "/b/" + std::to_string(i),
           bytes_of(i)});
    const Status put = PutFiles(*storage_, files);
    ASSERT_TRUE(put.ok()) << put.message();
    EXPECT_EQ(Files(*storage_, "t/" + std::to_string(count)).size(), count);
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(Read(*storage_, files[i].path), bytes_of(i));
  }
}

TEST_P(StorageTest, PutsWhatLiesInAFile) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
  ASSERT_NE(file, nullptr);
  std::string bytes;
  for (int i = 0; bytes.size() < 3'000'000; ++i) bytes += std::to_string(i) + "\n";
  ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), file.get()), bytes.size());
  ASSERT_EQ(std::fflush(file.get()), 0);
  const auto size = static_cast<int64_t>(bytes.size());
  for (const int64_t part : {int64_t{0}, int64_t{10}, size}) {
    const std::string path = "of/" + std::to_string(part);
    const Status put = PutFiles(*storage_, {{path, Content::OfFile(fileno(file.get()), part)}});
    ASSERT_TRUE(put.ok()) << put.message();
    EXPECT_EQ(Read(*storage_, path), bytes.substr(0, static_cast<size_t>(part)));
  }
  // A file that is shorter than it should be is not put, not even in part.
  const auto put =
      storage_->Put("of/short", Content::OfFile(fileno(file.get()), size + 1), PutMode::kIfAbsent);
  EXPECT_EQ(put.status().code(), StatusCode::kRetry) << put.status().message();
  EXPECT_EQ(Read(*storage_, "of/short"), std::nullopt);
}

TEST_P(StorageTest, OfManyWhoPutOneNameOneWins) {
  constexpr int kWriters = 32;
  constexpr size_t kNames = 50;
  std::array<std::atomic<int>, kNames> won{};
  std::array<std::atomic<int>, kNames> winner{};
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer)
    writers.emplace_back([&, writer] {
      const auto storage = home_->Open();
      for (size_t name = 0; name < kNames; ++name)
        if (Put(*storage, "log/" + std::to_string(name), std::to_string(writer),
                PutMode::kIfAbsent) == PutOutcome::kWritten) {
          ++won[name];
          winner[name] = writer;
        }
    });
  for (std::thread& writer : writers) writer.join();
  for (size_t name = 0; name < kNames; ++name) {
    EXPECT_EQ(won[name], 1) << name;
    EXPECT_EQ(Read(*storage_, "log/" + std::to_string(name)), std::to_string(winner[name]));
  }
  EXPECT_EQ(Files(*storage_, "log").size(), kNames);
}

TEST_P(StorageTest, AReaderSeesAFileCompletelyOrNotAtAll) {
  constexpr int kPuts = 20;
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0, seen = 0;
  std::thread reader([&] {
    const auto storage = home_->Open();
    while (!done) {
      const std::optional<std::string> bytes = Read(*storage, "f");
      if (!bytes) continue;
      ++seen;
      if (bytes->size() != 300'000 || *bytes != std::string(300'000, bytes->front())) ++wrong;
    }
  });
  for (int i = 0; i < kPuts || seen == 0; ++i)
    Put(*storage_, "f", std::string(300'000, static_cast<char>('a' + i % 20)));
  done = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(All, StorageTest, testing::ValuesIn(Storages()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sightline::conformance
