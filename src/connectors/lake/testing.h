// For tests of the lake: a storage that fails on request, and the calls made on it.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "connectors/storage/local_storage.h"
#include "engine/sink.h"

namespace sightline::lake_testing {

// Local storage in a directory of its own, which the destructor removes.
class TestStorage final : public Storage {
 public:
  TestStorage() : root_(NewDirectory()), local_(root_) {}
  ~TestStorage() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  // before_put runs before a put: an error from it replaces the put. after_put runs after a put: an
  // error from it replaces the answer. before_confirm is as before_put.
  std::function<Status(std::string_view path)> before_put, after_put, before_confirm;
  std::atomic<int64_t> reads = 0;
  int64_t lists = 0;
  // What the storage's clock says; none: as this machine.
  std::optional<int64_t> now_ms;

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override {
    ++reads;
    return local_.Read(path, range);
  }
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override {
    for (const NewFile& file : files) {
      const bool confirms = file.path.find(kPutPrefix) != std::string::npos;
      const auto& before = confirms ? before_confirm : before_put;
      if (before)
        if (Status status = before(file.path); !status.ok()) return status;
      Result<PutOutcome> put = local_.Put(file.path, file.content, mode);
      if (now_ms && put.ok() && put.value() == PutOutcome::kWritten) Date(file.path);
      if (after_put && !confirms)
        if (Status status = after_put(file.path); !status.ok()) return status;
      if (!put.ok() || put.value() == PutOutcome::kTaken) return put;
    }
    return PutOutcome::kWritten;
  }
  Result<std::vector<FileInfo>> List(std::string_view directory) override {
    ++lists;
    return local_.List(directory);
  }
  Result<std::optional<FileInfo>> Stat(std::string_view path) override { return local_.Stat(path); }
  Status Delete(std::string_view path) override { return local_.Delete(path); }

  const std::filesystem::path& root() const { return root_; }
  void Clear() {
    for (const auto& entry : std::filesystem::directory_iterator(root_))
      std::filesystem::remove_all(entry);
  }
  int64_t DataFiles(std::string_view table) {
    int64_t count = 0;
    const std::vector<FileInfo> files = List(table).value();
    for (const FileInfo& file : files)
      count += file.path.ends_with(".parquet") && file.path.find("_delta_log") == std::string::npos;
    return count;
  }

 private:
  void Date(const std::string& path) {
    const timespec time{.tv_sec = *now_ms / 1000, .tv_nsec = *now_ms % 1000 * 1'000'000};
    const timespec times[] = {time, time};
    CHECK(utimensat(AT_FDCWD, (root_ / path).c_str(), times, 0) == 0);
  }
  static std::filesystem::path NewDirectory() {
    const std::filesystem::path memory = "/dev/shm";
    std::string name =
        ((std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path()) /
         "sightline-XXXXXX")
            .native();
    CHECK(mkdtemp(name.data()) != nullptr);
    return name;
  }
  const std::filesystem::path root_;
  LocalStorage local_;
};

// Repeats a call until the answer is no longer "under way".
template <typename Call>
auto Settle(const Call& call) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (true) {
    auto answer = call();
    std::string message;
    if constexpr (std::is_same_v<decltype(answer), Status>) {
      message = answer.message();
    } else {
      message = answer.status().message();
    }
    if (message.find("under way") == std::string::npos ||
        std::chrono::steady_clock::now() > deadline)
      return answer;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

}  // namespace sightline::lake_testing
