// FileCache: copies of the files of a lake that is not on this machine, in a folder of this one.
//
//   lock          held by the process that uses the folder
//   of            the URL of the lake, and the start of the machine, of which the copies are
//   lake/         the copies, at the paths that they have below the lake's folder
//   incoming/     copies that are not whole yet
//
// A file of a lake never changes under its name, and its length is in the log of its table. So a
// copy that is whole stays right, also over a restart. A crash of the machine may leave a copy
// without its content, since nothing is synced: the copies of an earlier start of the machine are
// removed.
//
// Together the copies never have more than `bytes_max`. Those that nobody holds make room, the
// least recently used first. Room for all files of a question is taken at once, so two that wait
// for room do not block each other. A file that several questions need is fetched once. One that
// nobody needs any more is not fetched further. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/metric.h"
#include "base/status.h"
#include "connectors/storage/storage.h"
#include "query/file_keeper.h"

namespace sightline {

struct FileCacheOptions {
  std::string folder;  // empty: a temporary one, which the destructor removes
  int64_t bytes_max = 1LL << 30;
  size_t fetches_max = 8;           // files that are fetched at the same time
  int64_t piece_bytes = 4LL << 20;  // each has so much of its file in memory
};

class FileCache final : public FileKeeper {
 public:
  // Null: the files of `lake`, a URL, can be opened by path, so no copies are needed. `storage` is
  // that of the lake, and must outlive the cache. kStop: another process uses the folder.
  static Result<std::unique_ptr<FileCache>> OpenIfNeeded(const std::string& lake,
                                                         const FileCacheOptions& options,
                                                         Storage& storage);
  static Result<std::unique_ptr<FileCache>> Open(const std::string& lake,
                                                 const FileCacheOptions& options, Storage& storage);
  // Whoever holds files must have let them go before. What is being read from the storage ends
  // first: stop that before.
  ~FileCache() override;

  std::string root() const { return root_.string(); }  // the folder of the copies

  Holding Hold(const std::vector<NeededFile>& needed, const HoldLimits& limits) override;
  void Distrust(const std::string& path) override;
  std::vector<Metric> metrics() const override;

 private:
  enum class Stage : uint8_t { kQueued, kFetching, kHere, kGone };
  struct Copy {
    const std::string path;
    const int64_t bytes;
    // Under mutex_.
    Stage stage = Stage::kQueued;
    int32_t holders = 0;
    bool distrusted = false;  // who holds it goes on with it; who comes gets a new one
    uint64_t used = 0;        // its key in unheld_, if it is there
    Status failure = Status::Ok();
  };
  // Shared by the map and by those who wait for it or hold it, also when it is not in the map.
  using CopyPtr = std::shared_ptr<Copy>;
  class Held;

  FileCache(std::string lake, FileCacheOptions options, Storage& storage);
  Status Lock();
  Status Prepare();
  Status Adopt();

  // All under mutex_.
  bool Reserve(std::span<const NeededFile> files, std::vector<CopyPtr>& copies);
  bool IsCurrent(const Copy& copy) const;
  void Keep(const CopyPtr& copy);
  void Forget(const Copy& copy);
  void Release(std::span<const CopyPtr> copies);
  void Enqueue(const CopyPtr& copy);
  void RemoveFile(const std::string& path) const;
  Status Place(const Copy& copy, const std::filesystem::path& incoming) const;
  void Finish(const CopyPtr& copy, const std::filesystem::path& incoming, Status fetched);
  // True: `done` is. False: the deadline came before.
  template <typename Done>
  Result<bool> WaitUntil(std::unique_lock<std::mutex>& lock, const HoldLimits& limits,
                         const Done& done);

  void FetchInTurn(const std::stop_token& stop);
  Status Fetch(const Copy& copy, const std::filesystem::path& incoming) const;
  Result<bool> FetchPieces(const Copy& copy, const std::filesystem::path& incoming) const;
  bool IsWanted(const Copy& copy) const;

  const std::string lake_;
  const FileCacheOptions options_;
  Storage& storage_;
  const std::filesystem::path folder_, root_, incoming_;
  std::unique_ptr<const File> lock_file_;

  mutable std::mutex mutex_;
  std::condition_variable_any queued_, changed_;
  // Under mutex_.
  std::map<std::string, CopyPtr, std::less<>> copies_;
  std::map<uint64_t, CopyPtr> unheld_;  // by when they were used last
  std::deque<CopyPtr> queue_;
  int64_t bytes_ = 0;  // of all in copies_, fetched or not
  uint64_t uses_ = 0, attempts_ = 0;
  size_t waiting_fetchers_ = 0;
  int64_t hits_ = 0, misses_ = 0, fetched_bytes_ = 0, failures_ = 0;
  std::vector<std::jthread> fetchers_;  // last, so that they end before what they use is destroyed
};

}  // namespace sightline
