#include "history/file_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>
#include <tuple>
#include <utility>

#include "connectors/storage/open_storage.h"
#include "connectors/storage/storage_path.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{10};
constexpr const char* kTemporaryPrefix = "sightline-query-";
constexpr time_t kAbandonedSeconds = 60;
constexpr int kTries = 2;  // of a file whose length is not that of the log

// Changes when the machine starts. Empty: unknown.
std::string BootId() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), id);
  return id;
}

std::string Mebibytes(int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

int64_t BytesOf(std::span<const NeededFile> files) {
  int64_t bytes = 0;
  for (const NeededFile& file : files) bytes += file.bytes;
  return bytes;
}

fs::path TemporaryFolder() {
  std::error_code error;
  const fs::path folder = fs::temp_directory_path(error);
  return error ? fs::path("/tmp") : folder;
}

// Removes the temporary folders of processes that were killed: nobody locks them any more.
void RemoveAbandoned() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(TemporaryFolder(), ignored)) {
    if (!entry.path().filename().native().starts_with(kTemporaryPrefix)) continue;
    const File lock(open((entry.path() / "lock").c_str(), O_RDWR | O_CLOEXEC));
    struct stat about {};
    // A process that begins may not hold its lock yet.
    const bool is_old = lock.ok() && fstat(lock.fd(), &about) == 0 &&
                        about.st_mtime < time(nullptr) - kAbandonedSeconds;
    if (is_old && flock(lock.fd(), LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), ignored);
  }
}

Status WriteAll(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError(errno, "write", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return Status::Ok();
}

}  // namespace

// What a question holds. It is released when this is destroyed.
class FileCache::Held {
 public:
  explicit Held(FileCache* cache) : cache_(*cache) {}
  ~Held() {
    {
      const std::lock_guard lock(cache_.mutex_);
      cache_.Release(copies);
    }
    cache_.changed_.notify_all();
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  std::vector<CopyPtr> copies;

 private:
  FileCache& cache_;
};

// -- the folder ----------------------------------------------------------------------------------

FileCache::FileCache(std::string lake, FileCacheOptions options, Storage& storage)
    : lake_(std::move(lake)),
      options_(std::move(options)),
      storage_(storage),
      folder_(options_.folder.empty() ? TemporaryFolder() / TemporaryName(kTemporaryPrefix)
                                      : fs::absolute(options_.folder)),
      root_(folder_ / "lake"),
      incoming_(folder_ / "incoming") {}

Result<std::unique_ptr<FileCache>> FileCache::OpenIfNeeded(const std::string& lake,
                                                           const FileCacheOptions& options,
                                                           Storage& storage) {
  if (LocalFolder(lake)) return std::unique_ptr<FileCache>();
  return Open(lake, options, storage);
}

Result<std::unique_ptr<FileCache>> FileCache::Open(const std::string& lake,
                                                   const FileCacheOptions& options,
                                                   Storage& storage) {
  if (options.folder.empty()) RemoveAbandoned();
  std::unique_ptr<FileCache> cache(new FileCache(lake, options, storage));
  RETURN_IF_ERROR(cache->Lock());
  RETURN_IF_ERROR(cache->Prepare());
  RETURN_IF_ERROR(cache->Adopt());
  return cache;
}

FileCache::~FileCache() {
  for (std::jthread& fetcher : fetchers_) fetcher.request_stop();
  fetchers_.clear();
  std::error_code ignored;
  if (options_.folder.empty()) fs::remove_all(folder_, ignored);
}

Status FileCache::Lock() {
  std::error_code error;
  fs::create_directories(folder_.parent_path(), error);
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST)
    return SystemError(errno, "make the folder", folder_);
  const fs::path path = folder_ / "lock";
  lock_file_ = std::make_unique<const File>(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_file_->ok()) return SystemError(errno, "open", path);
  if (flock(lock_file_->fd(), LOCK_EX | LOCK_NB) == 0) return Status::Ok();
  return Status::Stop(fmt::format(
      "another process keeps its copies of a lake in '{}': give each process a data folder of its "
      "own",
      folder_.native()));
}

// Leaves only copies of this lake that were made since the machine was started.
Status FileCache::Prepare() {
  const std::string boot = BootId();
  const std::string ours = lake_ + "\n" + boot + "\n";
  std::ifstream file(folder_ / "of");
  const std::string theirs(std::istreambuf_iterator<char>(file), {});
  std::error_code error;
  const auto failed = [&](const char* doing, const fs::path& path) {
    return SystemError(error.value(), doing, path);
  };
  if (theirs != ours || boot.empty()) fs::remove_all(root_, error);
  if (error) return failed("remove", root_);
  fs::remove_all(incoming_, error);
  if (error) return failed("remove", incoming_);
  for (const fs::path& folder : {root_, incoming_})
    if (fs::create_directories(folder, error); error) return failed("make the folder", folder);
  std::ofstream(folder_ / "of") << ours;
  return Status::Ok();
}

Status FileCache::Adopt() {
  std::vector<std::tuple<fs::file_time_type, std::string, int64_t>> found;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root_, error), end; !error && entry != end;
       entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    found.emplace_back(entry->last_write_time(error),
                       entry->path().lexically_relative(root_).native(),
                       static_cast<int64_t>(entry->file_size(error)));
  }
  if (error) return SystemError(error.value(), "list", root_);
  std::ranges::sort(found);
  const std::lock_guard lock(mutex_);
  for (auto& [time, path, bytes] : found) {
    const auto copy = std::make_shared<Copy>(Copy{.path = std::move(path), .bytes = bytes});
    copy->stage = Stage::kHere;
    copies_.emplace(copy->path, copy);
    bytes_ += bytes;
    Keep(copy);
  }
  std::vector<CopyPtr> none;
  (void)Reserve({}, none);  // removes what is above the bound
  return Status::Ok();
}

// -- what is held --------------------------------------------------------------------------------

bool FileCache::IsCurrent(const Copy& copy) const {
  const auto found = copies_.find(copy.path);
  return found != copies_.end() && found->second.get() == &copy;
}

// Nobody holds this copy any more.
void FileCache::Keep(const CopyPtr& copy) {
  copy->used = ++uses_;
  unheld_.emplace(copy->used, copy);
}

void FileCache::Forget(const Copy& copy) {
  bytes_ -= copy.bytes;
  RemoveFile(copy.path);
  copies_.erase(copies_.find(copy.path));
}

// The folders of days and locations that become empty go, too.
void FileCache::RemoveFile(const std::string& path) const {
  fs::path gone = root_ / path;
  unlink(gone.c_str());
  do gone = gone.parent_path();
  while (gone != root_ && rmdir(gone.c_str()) == 0);
}

void FileCache::Enqueue(const CopyPtr& copy) {
  copy->stage = Stage::kQueued;
  queue_.push_back(copy);
  queued_.notify_one();
  if (waiting_fetchers_ < queue_.size() && fetchers_.size() < options_.fetches_max)
    fetchers_.emplace_back([this](const std::stop_token& stop) { FetchInTurn(stop); });
}

// Holds copies of all files, or of none, because there is no room yet.
// Each file occurs once.
bool FileCache::Reserve(std::span<const NeededFile> files, std::vector<CopyPtr>& copies) {
  std::vector<const NeededFile*> missing;
  int64_t more = 0;
  for (const NeededFile& file : files) {
    const auto found = copies_.find(file.path);
    if (found == copies_.end() || found->second->bytes != file.bytes) {
      missing.push_back(&file);
      more += file.bytes;
      continue;
    }
    const CopyPtr& copy = found->second;
    if (copy->holders++ == 0 && copy->stage == Stage::kHere) unheld_.erase(copy->used);
    copies.push_back(copy);
  }
  while (bytes_ + more > options_.bytes_max && !unheld_.empty()) {
    const CopyPtr oldest = unheld_.begin()->second;
    unheld_.erase(unheld_.begin());
    Forget(*oldest);
  }
  if (bytes_ + more > options_.bytes_max) {
    Release(copies);
    copies.clear();
    return false;
  }
  for (const CopyPtr& copy : copies)
    if (std::exchange(copy->distrusted, false)) Enqueue(copy);
  hits_ += std::ssize(copies);
  misses_ += std::ssize(missing);
  for (const NeededFile* file : missing) {
    // One of another length is not of this file.
    if (const auto other = copies_.find(file->path); other != copies_.end()) {
      unheld_.erase(other->second->used);
      Forget(*other->second);
    }
    const auto copy = std::make_shared<Copy>(Copy{.path = file->path, .bytes = file->bytes});
    copy->holders = 1;
    copies_.emplace(copy->path, copy);
    bytes_ += copy->bytes;
    copies.push_back(copy);
    Enqueue(copy);
  }
  return true;
}

void FileCache::Release(std::span<const CopyPtr> copies) {
  for (const CopyPtr& copy : copies) {
    if (--copy->holders > 0) continue;
    if (!IsCurrent(*copy) || copy->stage == Stage::kFetching) continue;
    if (copy->stage == Stage::kHere && !copy->distrusted) {
      Keep(copy);
    } else {
      copy->stage = Stage::kGone;
      Forget(*copy);
    }
  }
}

template <typename Done>
Result<bool> FileCache::WaitUntil(std::unique_lock<std::mutex>& lock, const HoldLimits& limits,
                                  const Done& done) {
  while (!done()) {
    if (steady_clock::now() >= limits.deadline) return false;
    changed_.wait_for(lock, kTick);
    if (!limits.go_on) continue;
    lock.unlock();
    const Status going = limits.go_on();
    lock.lock();
    RETURN_IF_ERROR(going);
  }
  return true;
}

Holding FileCache::Hold(const std::vector<NeededFile>& needed, const HoldLimits& limits) {
  std::vector<NeededFile> files = needed;
  std::ranges::sort(files, {}, &NeededFile::path);
  const auto twice = std::ranges::unique(files, {}, &NeededFile::path);
  files.erase(twice.begin(), twice.end());
  for (const NeededFile& file : files)
    if (Status path = CheckStoragePath(file.path); !path.ok())
      return {.status = std::move(path), .failed_path = file.path};
  const std::string size =
      fmt::format("{} files with {} from '{}'", files.size(), Mebibytes(BytesOf(files)), lake_);
  if (BytesOf(files) > options_.bytes_max)
    return {.status = Status::Stop(fmt::format(
                "the question needs {}, and query.cache_max allows {} at once: ask for fewer days "
                "or locations, or raise the limit",
                size, Mebibytes(options_.bytes_max))),
            .too_large = true};
  const auto held = std::make_shared<Held>(this);
  std::unique_lock lock(mutex_);
  const Result<bool> has_room =
      WaitUntil(lock, limits, [&] { return Reserve(files, held->copies); });
  Holding holding;
  size_t here = 0;
  const auto settled = [&] {
    while (here < held->copies.size() && held->copies[here]->stage == Stage::kHere) ++here;
    return here == held->copies.size() || held->copies[here]->stage == Stage::kGone;
  };
  const Result<bool> has_all =
      has_room.ok() && has_room.value() ? WaitUntil(lock, limits, settled) : has_room;
  if (!has_all.ok()) {
    holding.status = has_all.status();
  } else if (!has_all.value()) {
    holding.status = Status::Retry(
        has_room.value()
            ? fmt::format("the question needs {}, and not all of them came within its time: ask "
                          "again, since those that came are kept, or ask for fewer days or "
                          "locations",
                          size)
            : fmt::format("the question needs {}, and other questions hold the files that fill "
                          "query.cache_max: try again later",
                          size));
  } else if (here < held->copies.size()) {
    holding.status = held->copies[here]->failure;
    holding.failed_path = held->copies[here]->path;
  } else {
    holding.files = held;
  }
  return holding;
}

void FileCache::Distrust(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto found = copies_.find(path);
  if (found == copies_.end() || found->second->stage != Stage::kHere) return;
  const CopyPtr copy = found->second;
  copy->distrusted = copy->holders > 0;
  if (copy->distrusted) return;
  unheld_.erase(copy->used);
  Forget(*copy);
}

// -- fetching ------------------------------------------------------------------------------------

void FileCache::FetchInTurn(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++waiting_fetchers_;
    queued_.wait(lock, stop, [&] { return !queue_.empty(); });
    --waiting_fetchers_;
    if (stop.stop_requested()) return;
    const CopyPtr copy = std::move(queue_.front());
    queue_.pop_front();
    if (copy->stage != Stage::kQueued) continue;
    copy->stage = Stage::kFetching;
    const fs::path incoming = incoming_ / std::to_string(++attempts_);
    lock.unlock();
    Status fetched = Fetch(*copy, incoming);
    lock.lock();
    Finish(copy, incoming, std::move(fetched));
    changed_.notify_all();
  }
}

void FileCache::Finish(const CopyPtr& copy, const fs::path& incoming, Status fetched) {
  if (fetched.ok() && IsCurrent(*copy)) fetched = Place(*copy, incoming);
  unlink(incoming.c_str());
  if (!IsCurrent(*copy)) {
    copy->stage = Stage::kGone;
    copy->failure = Status::Retry("a file of the lake has changed: ask again");
  } else if (fetched.ok()) {
    copy->stage = Stage::kHere;
    fetched_bytes_ += copy->bytes;
    if (copy->holders == 0) Keep(copy);
  } else if (copy->holders > 0 && fetched.code() == StatusCode::kRebuild) {
    Enqueue(copy);  // nobody wanted it any more, and then somebody did again
  } else {
    failures_ += fetched.code() != StatusCode::kRebuild;
    copy->stage = Stage::kGone;
    copy->failure = std::move(fetched);
    Forget(*copy);
  }
}

Status FileCache::Place(const Copy& copy, const fs::path& incoming) const {
  const fs::path path = root_ / copy.path;
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return SystemError(error.value(), "make the folder", path.parent_path());
  return rename(incoming.c_str(), path.c_str()) == 0 ? Status::Ok()
                                                     : SystemError(errno, "rename", incoming);
}

bool FileCache::IsWanted(const Copy& copy) const {
  const std::lock_guard lock(mutex_);
  return copy.holders > 0;
}

// kRebuild: nobody wants the file any more.
Status FileCache::Fetch(const Copy& copy, const fs::path& incoming) const {
  for (int attempt = 1; attempt <= kTries; ++attempt) {
    const Result<bool> whole = FetchPieces(copy, incoming);
    if (!whole.ok()) return whole.status();
    if (whole.value()) return Status::Ok();
  }
  return Status::Stop(
      fmt::format("'{}' in '{}' has not the {} bytes that the log of its table names: restore it, "
                  "or see what `sightline lake verify` says",
                  copy.path, lake_, copy.bytes));
}

// False: the file has another length than it should.
Result<bool> FileCache::FetchPieces(const Copy& copy, const fs::path& incoming) const {
  const File file(open(incoming.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.ok()) return SystemError(errno, "make", incoming);
  for (int64_t first = 0;;) {
    if (!IsWanted(copy)) return Status::Rebuild("nobody waits for the file any more");
    const int64_t next = std::min(first + options_.piece_bytes, copy.bytes);
    // The last piece would show that the file goes on.
    const Result<std::optional<std::string>> piece =
        storage_.Read(copy.path, {.first = first, .next = next == copy.bytes ? next + 1 : next});
    if (!piece.ok()) return piece.status();
    if (!piece.value())
      return Status::Stop(fmt::format(
          "'{}' is missing in '{}': restore it, or see what `sightline lake verify` says",
          copy.path, lake_));
    if (std::ssize(*piece.value()) != next - first) return false;
    RETURN_IF_ERROR(WriteAll(file.fd(), *piece.value(), incoming));
    if (next == copy.bytes) return true;
    first = next;
  }
}

std::vector<Metric> FileCache::metrics() const {
  const std::lock_guard lock(mutex_);
  return {Metric::Counter("sightline_lake_cache_hits_total",
                          "Files that questions needed and that were in the cache.", hits_),
          Metric::Counter("sightline_lake_cache_misses_total",
                          "Files that questions needed and that had to be fetched.", misses_),
          Metric::Counter("sightline_lake_cache_failures_total", "Files that could not be fetched.",
                          failures_),
          Metric::Counter("sightline_lake_cache_fetched_bytes_total",
                          "Bytes of the files that were fetched.", fetched_bytes_),
          Metric::Gauge("sightline_lake_cache_bytes",
                        "Bytes of the files in the cache; query.cache_max is the bound.", bytes_)};
}

}  // namespace sightline
