#include "connectors/storage/local_storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "base/files.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

// If there are more files than this, their whole file system is synced instead.
constexpr size_t kThreadsMax = 16;
// The files that PutAll() keeps open at once: far below the usual limit on open files.
constexpr size_t kFilesAtOnce = 256;

Status BadPath(std::string_view path, std::string_view why) {
  return Status::Stop(fmt::format("path '{}' is refused: {}", path, why));
}

// Checks the path's text: it must be relative, and every component must be a name.
Status CheckText(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return BadPath(path, "it contains a zero byte");
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view component = path.substr(start, end - start);
    if (component.empty() || component == "." || component == "..")
      return BadPath(path, "it must be relative, without empty components, '.' and '..'");
    start = end + 1;
  }
  return Status::Ok();
}

// Creates the directory and its parents. Adds to `changed` the directories that got new names and
// must be synced.
Status MakeDirectory(const fs::path& dir, std::set<fs::path>& changed) {
  std::error_code error;
  if (dir.empty() || fs::is_directory(dir, error)) return Status::Ok();
  RETURN_IF_ERROR(MakeDirectory(dir.parent_path(), changed));
  fs::create_directory(dir, error);
  if (error) return SystemError(error.value(), "make the directory", dir);
  changed.insert(dir.has_parent_path() ? dir.parent_path() : fs::path("."));
  return Status::Ok();
}

// Syncs everything in the file system of `fd`. syncfs(2) reports failed writes since Linux 5.8.
Status SyncFileSystem(int fd, const fs::path& path) {
  return syncfs(fd) == 0 ? Status::Ok() : SystemError(errno, "sync the file system of", path);
}

// Calls `action` for 0 to count - 1 on several threads. The first failure ends it.
Status ForEachAtOnce(size_t count, const std::function<Status(size_t)>& action) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status first = Status::Ok();
  const auto work = [&] {
    for (size_t i; (i = next++) < count;) {
      Status status = action(i);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      if (first.ok()) first = std::move(status);
      next = count;
    }
  };
  std::vector<std::jthread> threads;
  for (size_t i = 1; i < std::min(count, kThreadsMax); ++i) threads.emplace_back(work);
  work();
  threads.clear();
  return first;
}

Status SyncDirectories(const std::set<fs::path>& directories) {
  const std::vector<fs::path> all(directories.begin(), directories.end());
  return ForEachAtOnce(all.size(), [&](size_t i) { return SyncDirectory(all[i]); });
}

Status WriteAll(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return SystemError(errno, "write", path);
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return Status::Ok();
}

Status SyncFile(int fd, const fs::path& path) {
  return fsync(fd) == 0 ? Status::Ok() : SystemError(errno, "sync", path);
}

FileInfo InfoOf(std::string path, const struct stat& status) {
  return {.path = std::move(path),
          .size_bytes = status.st_size,
          .modified_ms = status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1'000'000};
}

bool IsAbsent(int error) { return error == ENOENT; }

}  // namespace

Result<fs::path> LocalStorage::Resolve(std::string_view path) const {
  RETURN_IF_ERROR(CheckText(path));
  const fs::path whole = root_ / path;
  // The last component is opened without following links. Links in the components before it are
  // checked here.
  std::error_code error;
  const fs::path parent = fs::weakly_canonical(whole.parent_path(), error);
  if (error) return SystemError(error.value(), "resolve", whole);
  const fs::path root = fs::weakly_canonical(root_, error);
  if (error) return SystemError(error.value(), "resolve", root_);
  const auto [at, in_parent] =
      std::mismatch(root.begin(), root.end(), parent.begin(), parent.end());
  if (at != root.end()) return BadPath(path, "a symbolic link leads out of the root; remove it");
  return whole;
}

Result<std::optional<std::string>> LocalStorage::Read(std::string_view path, ByteRange range) {
  const Result<fs::path> whole = Resolve(path);
  if (!whole.ok()) return whole.status();
  const File file(open(whole.value().c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (file.fd() < 0) {
    if (IsAbsent(errno)) return std::optional<std::string>();
    return SystemError(errno, "open", whole.value());
  }
  struct stat status {};
  if (fstat(file.fd(), &status) != 0) return SystemError(errno, "look at", whole.value());
  const int64_t next = std::min<int64_t>(range.next, status.st_size);
  std::string bytes(static_cast<size_t>(std::max<int64_t>(0, next - range.first)), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = pread(file.fd(), bytes.data() + have, bytes.size() - have,
                            range.first + static_cast<int64_t>(have));
    if (n < 0 && errno != EINTR) return SystemError(errno, "read", whole.value());
    if (n == 0) break;
    if (n > 0) have += static_cast<size_t>(n);
  }
  bytes.resize(have);
  return std::optional<std::string>(std::move(bytes));
}

Result<PutOutcome> LocalStorage::Put(std::string_view path, std::string_view bytes, PutMode mode) {
  const Result<fs::path> resolved = Resolve(path);
  if (!resolved.ok()) return resolved.status();
  const fs::path& target = resolved.value();
  const fs::path dir = target.parent_path();
  std::set<fs::path> changed;
  RETURN_IF_ERROR(MakeDirectory(dir, changed));
  for (const fs::path& directory : changed) RETURN_IF_ERROR(SyncDirectory(directory));
  const TemporaryFile put(dir, kPutPrefix);
  {
    const File file(open(put.path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (file.fd() < 0) return SystemError(errno, "make", put.path());
    RETURN_IF_ERROR(WriteAll(file.fd(), bytes, put.path()));
    RETURN_IF_ERROR(SyncFile(file.fd(), put.path()));
  }
  if (mode == PutMode::kIfAbsent) {
    if (link(put.path().c_str(), target.c_str()) != 0) {
      if (errno == EEXIST) return PutOutcome::kTaken;
      return SystemError(errno, "link", target);
    }
  } else if (rename(put.path().c_str(), target.c_str()) != 0) {
    return SystemError(errno, "rename", target);
  }
  // The name is there for everybody already, but may not survive a crash: the outcome is unknown.
  if (const Status synced = SyncDirectory(dir); !synced.ok())
    return Status::Rebuild("it is unknown whether the file is durable: " + synced.message());
  return PutOutcome::kWritten;
}

Status LocalStorage::Confirm(std::string_view path) {
  const Result<fs::path> resolved = Resolve(path);
  return resolved.ok() ? SyncDirectory(resolved.value().parent_path()) : resolved.status();
}

Status LocalStorage::PutAll(std::span<const NewFile> files) {
  for (; files.size() > kFilesAtOnce; files = files.subspan(kFilesAtOnce))
    RETURN_IF_ERROR(PutSome(files.first(kFilesAtOnce)));
  return PutSome(files);
}

Status LocalStorage::PutSome(std::span<const NewFile> files) {
  std::set<fs::path> changed;
  std::vector<fs::path> targets;
  std::vector<std::unique_ptr<TemporaryFile>> puts;
  std::vector<std::unique_ptr<File>> open_files;
  for (const NewFile& file : files) {
    Result<fs::path> target = Resolve(file.path);
    if (!target.ok()) return target.status();
    const fs::path dir = target.value().parent_path();
    RETURN_IF_ERROR(MakeDirectory(dir, changed));
    changed.insert(dir);
    targets.push_back(std::move(target).value());
    puts.push_back(std::make_unique<TemporaryFile>(dir, kPutPrefix));
    const fs::path& path = puts.back()->path();
    open_files.push_back(
        std::make_unique<File>(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)));
    const int fd = open_files.back()->fd();
    if (fd < 0) return SystemError(errno, "make", path);
    RETURN_IF_ERROR(WriteAll(fd, file.bytes, path));
  }
  const bool many = files.size() > kThreadsMax;
  const auto sync_file = [&](size_t i) { return SyncFile(open_files[i]->fd(), puts[i]->path()); };
  // The contents must be durable before any name is: a crash must not leave a name on an empty
  // file.
  RETURN_IF_ERROR(many ? SyncFileSystem(open_files[0]->fd(), root_)
                       : ForEachAtOnce(files.size(), sync_file));
  for (size_t i = 0; i < files.size(); ++i)
    if (rename(puts[i]->path().c_str(), targets[i].c_str()) != 0)
      return SystemError(errno, "rename", targets[i]);
  return many ? SyncFileSystem(open_files[0]->fd(), root_) : SyncDirectories(changed);
}

Status LocalStorage::ListInto(const fs::path& directory, const std::string& prefix,
                              std::vector<FileInfo>& files) const {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr) {
    if (IsAbsent(errno)) return Status::Ok();
    return SystemError(errno, "list", directory);
  }
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat status {};
    if (fstatat(dirfd(dir.get()), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (IsAbsent(errno)) continue;  // deleted meanwhile
      return SystemError(errno, "look at", directory / name);
    }
    if (S_ISDIR(status.st_mode))
      RETURN_IF_ERROR(ListInto(directory / name, prefix + name + "/", files));
    if (S_ISREG(status.st_mode)) files.push_back(InfoOf(prefix + name, status));
  }
  return Status::Ok();
}

Result<std::vector<FileInfo>> LocalStorage::List(std::string_view directory) {
  const Result<fs::path> resolved = Resolve(directory);
  if (!resolved.ok()) return resolved.status();
  std::error_code error;
  if (fs::is_symlink(resolved.value(), error))
    return BadPath(directory, "it is a symbolic link; name the directory itself");
  std::vector<FileInfo> files;
  RETURN_IF_ERROR(ListInto(resolved.value(), std::string(directory) + "/", files));
  std::sort(files.begin(), files.end(),
            [](const FileInfo& a, const FileInfo& b) { return a.path < b.path; });
  return files;
}

Result<std::optional<FileInfo>> LocalStorage::Stat(std::string_view path) {
  const Result<fs::path> resolved = Resolve(path);
  if (!resolved.ok()) return resolved.status();
  struct stat status {};
  if (lstat(resolved.value().c_str(), &status) != 0) {
    if (IsAbsent(errno)) return std::optional<FileInfo>();
    return SystemError(errno, "look at", resolved.value());
  }
  if (!S_ISREG(status.st_mode)) return std::optional<FileInfo>();
  return std::optional<FileInfo>(InfoOf(std::string(path), status));
}

Status LocalStorage::Delete(std::string_view path) {
  const Result<fs::path> resolved = Resolve(path);
  if (!resolved.ok()) return resolved.status();
  if (unlink(resolved.value().c_str()) == 0 || IsAbsent(errno)) return Status::Ok();
  return SystemError(errno, "delete", resolved.value());
}

}  // namespace sightline
