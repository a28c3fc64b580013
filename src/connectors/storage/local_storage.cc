#include "connectors/storage/local_storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "connectors/storage/at_once.h"
#include "connectors/storage/storage_path.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

// If there are more files than this, their whole file system is synced instead.
constexpr size_t kThreadsMax = 16;
// The files that PutFiles() keeps open at once: far below the usual limit on open files.
constexpr size_t kFilesAtOnce = 256;
// In memory, of a file that is written.
constexpr int64_t kPieceBytes = 256 << 10;

// Creates the root and its parents, and makes their names durable.
Status MakeRoot(const fs::path& root) {
  std::error_code error;
  if (root.empty() || fs::is_directory(root, error)) return Status::Ok();
  RETURN_IF_ERROR(MakeRoot(root.parent_path()));
  fs::create_directory(root, error);
  if (error) return SystemError(error.value(), "make the directory", root);
  return SyncDirectory(root.has_parent_path() ? root.parent_path() : fs::path("."));
}

// The directory at `path` below `root`, which may be the root itself.
Result<OpenDirectoryPtr> MakeBelow(const OpenDirectoryPtr& root, std::string_view path,
                                   const OpenDirectory::OnChange& changed) {
  return path.empty() ? root : root->FindOrMake(path, changed);
}

// Syncs everything in the file system of `fd`. syncfs(2) reports failed writes since Linux 5.8.
Status SyncFileSystem(int fd, const fs::path& path) {
  return syncfs(fd) == 0 ? Status::Ok() : SystemError(errno, "sync the file system of", path);
}

Status SyncDirectories(const OpenDirectoryPtr& root, const std::set<std::string>& directories) {
  const std::vector<std::string> all(directories.begin(), directories.end());
  return ForEachAtOnce(all.size(), kThreadsMax, [&](size_t i) -> Status {
    const Result<OpenDirectoryPtr> directory =
        all[i].empty() ? Result<OpenDirectoryPtr>(root) : root->Find(all[i]);
    if (!directory.ok()) return directory.status();
    if (directory.value() == nullptr) return SystemError(ENOENT, "sync", root->path() / all[i]);
    return directory.value()->Sync();
  });
}

Status WriteAll(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return SystemError(errno, "write", path);
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return Status::Ok();
}

Status WriteContent(int fd, const Content& content, const fs::path& path) {
  std::vector<char> piece(static_cast<size_t>(std::min(content.size(), kPieceBytes)));
  for (int64_t offset = 0; offset < content.size();) {
    const Result<size_t> got = content.Read(offset, piece);
    if (!got.ok()) return got.status();
    RETURN_IF_ERROR(WriteAll(fd, {piece.data(), got.value()}, path));
    offset += static_cast<int64_t>(got.value());
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

// A temporary file beside its target. The destructor removes it unless it has got the target's
// name. It keeps no descriptor of its directory, which must exist and be no symbolic link.
class PendingFile {
 public:
  PendingFile(OpenDirectoryPtr root, std::string_view target)
      : root_(std::move(root)),
        target_(target),
        name_(target_.substr(0, target_.rfind('/') + 1) + TemporaryName(Storage::kPutPrefix)),
        file_(openat(root_->fd(), name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)),
        error_(file_.ok() ? 0 : errno) {}
  ~PendingFile() {
    if (file_.ok() && !renamed_) unlinkat(root_->fd(), name_.c_str(), 0);
  }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  int fd() const { return file_.fd(); }
  Status Write(const Content& content) const {
    if (!file_.ok()) return SystemError(error_, "make", root_->path() / name_);
    return WriteContent(file_.fd(), content, root_->path() / name_);
  }
  Status Sync() const { return SyncFile(file_.fd(), root_->path() / name_); }
  Status Rename() {
    if (renameat(root_->fd(), name_.c_str(), root_->fd(), target_.c_str()) != 0)
      return SystemError(errno, "rename", root_->path() / target_);
    renamed_ = true;
    return Status::Ok();
  }
  // False: the name is taken.
  Result<bool> Link() const {
    if (linkat(root_->fd(), name_.c_str(), root_->fd(), target_.c_str(), 0) == 0) return true;
    if (errno == EEXIST) return false;
    return SystemError(errno, "link", root_->path() / target_);
  }

 private:
  const OpenDirectoryPtr root_;
  const std::string target_, name_;  // below the root
  const File file_;
  const int error_;
  bool renamed_ = false;
};

Result<std::string> ReadRange(int fd, ByteRange range, const fs::path& path) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return SystemError(errno, "look at", path);
  const int64_t next = std::min<int64_t>(range.next, status.st_size);
  std::string bytes(static_cast<size_t>(std::max<int64_t>(0, next - range.first)), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = pread(fd, bytes.data() + have, bytes.size() - have,
                            range.first + static_cast<int64_t>(have));
    if (n < 0 && errno != EINTR) return SystemError(errno, "read", path);
    if (n == 0) break;
    if (n > 0) have += static_cast<size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

// Lists an open directory, whose descriptor it takes. Names that vanish meanwhile are left out.
Status ListInto(int fd, const fs::path& path, const std::string& prefix,
                std::vector<FileInfo>& files) {
  if (fd < 0) return IsAbsent(errno) ? Status::Ok() : SystemError(errno, "list", path);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(fd), closedir);
  if (dir == nullptr) return SystemError(errno, "list", path);
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat status {};
    if (fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (IsAbsent(errno)) continue;
      return SystemError(errno, "look at", path / name);
    }
    if (S_ISDIR(status.st_mode))
      RETURN_IF_ERROR(
          ListInto(openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                   path / name, prefix + name + "/", files));
    if (S_ISREG(status.st_mode)) files.push_back(InfoOf(prefix + name, status));
  }
  return Status::Ok();
}

}  // namespace

Result<OpenDirectoryPtr> LocalStorage::Root(bool make) {
  const std::lock_guard lock(mutex_);
  struct stat there {};
  const bool found = stat(root_.c_str(), &there) == 0;
  const int error = found ? 0 : errno;
  if (opened_ != nullptr && found && opened_->Is(there)) return opened_;
  if (opened_ == nullptr && !found && (!IsAbsent(error) || !make))
    return IsAbsent(error) ? Result<OpenDirectoryPtr>(OpenDirectoryPtr())
                           : SystemError(error, "look at", root_);
  if (opened_ == nullptr && !found) RETURN_IF_ERROR(MakeRoot(root_));
  if (opened_ == nullptr || found) {
    Result<OpenDirectoryPtr> opened = OpenDirectory::Open(root_);
    if (opened_ == nullptr && !opened.ok()) return opened.status();
    if (opened_ == nullptr || (opened.ok() && HasMark(*opened.value()))) {
      opened_ = std::move(opened).value();
      return opened_;
    }
  }
  return Status::Stop(fmt::format(
      "'{}' is not the folder that was opened: mount its file system, or bring the folder back; "
      "until then, nothing is written there",
      root_.native()));
}

bool LocalStorage::HasMark(const OpenDirectory& root) const {
  if (!mark_) return false;
  const auto [path, name] = DivideStoragePath(mark_->path);
  const Result<OpenDirectoryPtr> directory = root.Find(path);
  if (!directory.ok() || directory.value() == nullptr) return false;
  const File file(openat(directory.value()->fd(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file.ok()) return false;
  const Result<std::string> bytes = ReadRange(file.fd(), {}, mark_->path);
  return bytes.ok() && bytes.value().size() == mark_->size &&
         std::hash<std::string>()(bytes.value()) == mark_->hash;
}

Result<LocalStorage::Place> LocalStorage::Find(std::string_view path) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  const Result<OpenDirectoryPtr> root = Root(/*make=*/false);
  if (!root.ok()) return root.status();
  auto [directory, name] = DivideStoragePath(path);
  if (root.value() == nullptr || directory.empty()) return Place{root.value(), std::move(name)};
  Result<OpenDirectoryPtr> found = root.value()->Find(directory);
  if (!found.ok()) return found.status();
  return Place{std::move(found).value(), std::move(name)};
}

Result<std::optional<std::string>> LocalStorage::Read(std::string_view path, ByteRange range) {
  const Result<Place> place = Find(path);
  if (!place.ok()) return place.status();
  const auto& [directory, name] = place.value();
  if (directory == nullptr) return std::optional<std::string>();
  const File file(openat(directory->fd(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file.ok() && IsAbsent(errno)) return std::optional<std::string>();
  if (!file.ok()) return SystemError(errno, "open", root_ / path);
  Result<std::string> bytes = ReadRange(file.fd(), range, root_ / path);
  if (!bytes.ok()) return bytes.status();
  return std::optional<std::string>(std::move(bytes).value());
}

Result<PutOutcome> LocalStorage::PutFiles(std::span<const NewFile> files, PutMode mode) {
  if (files.size() == 1) return PutOne(files[0].path, files[0].content, mode);
  CHECK(mode == PutMode::kReplace);
  for (; files.size() > kFilesAtOnce; files = files.subspan(kFilesAtOnce))
    RETURN_IF_ERROR(PutSome(files.first(kFilesAtOnce)));
  RETURN_IF_ERROR(PutSome(files));
  return PutOutcome::kWritten;
}

Result<PutOutcome> LocalStorage::PutOne(std::string_view path, const Content& content,
                                        PutMode mode) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  const Result<OpenDirectoryPtr> root = Root(/*make=*/true);
  if (!root.ok()) return root.status();
  const Result<OpenDirectoryPtr> directory =
      MakeBelow(root.value(), DivideStoragePath(path).first,
                [](const std::string&, const OpenDirectory& changed) { return changed.Sync(); });
  if (!directory.ok()) return directory.status();
  PendingFile file(root.value(), path);
  RETURN_IF_ERROR(file.Write(content));
  RETURN_IF_ERROR(file.Sync());
  if (mode == PutMode::kIfAbsent) {
    const Result<bool> linked = file.Link();
    if (!linked.ok()) return linked.status();
    if (!linked.value()) return PutOutcome::kTaken;
    Remember(path, content);
  } else {
    RETURN_IF_ERROR(file.Rename());
  }
  // The name is there for everybody already, but may not survive a crash: the outcome is unknown.
  if (const Status synced = directory.value()->Sync(); !synced.ok())
    return Status::Rebuild("it is unknown whether the file is durable: " + synced.message());
  return PutOutcome::kWritten;
}

void LocalStorage::Remember(std::string_view path, const Content& content) {
  std::string bytes(static_cast<size_t>(content.size()), '\0');
  if (!content.Read(0, bytes).ok()) return;
  const std::lock_guard lock(mutex_);
  mark_ = {std::string(path), bytes.size(), std::hash<std::string>()(bytes)};
}

Status LocalStorage::PutSome(std::span<const NewFile> files) {
  if (files.empty()) return Status::Ok();
  const Result<OpenDirectoryPtr> root = Root(/*make=*/true);
  if (!root.ok()) return root.status();
  std::set<std::string> changed;
  const auto note = [&changed](const std::string& path, const OpenDirectory&) {
    changed.insert(path);
    return Status::Ok();
  };
  std::vector<std::unique_ptr<PendingFile>> puts;
  for (const NewFile& file : files) {
    RETURN_IF_ERROR(CheckStoragePath(file.path));
    const std::string_view in = DivideStoragePath(file.path).first;
    if (changed.emplace(in).second) {
      const Result<OpenDirectoryPtr> directory = MakeBelow(root.value(), in, note);
      if (!directory.ok()) return directory.status();
    }
    puts.push_back(std::make_unique<PendingFile>(root.value(), file.path));
    RETURN_IF_ERROR(puts.back()->Write(file.content));
  }
  const bool many = files.size() > kThreadsMax;
  // The contents must be durable before any name is: a crash must not leave a name on an empty
  // file.
  RETURN_IF_ERROR(
      many ? SyncFileSystem(puts[0]->fd(), root_)
           : ForEachAtOnce(puts.size(), kThreadsMax, [&](size_t i) { return puts[i]->Sync(); }));
  for (const auto& put : puts) RETURN_IF_ERROR(put->Rename());
  return many ? SyncFileSystem(puts[0]->fd(), root_) : SyncDirectories(root.value(), changed);
}

Result<std::vector<FileInfo>> LocalStorage::List(std::string_view directory) {
  if (!directory.empty()) RETURN_IF_ERROR(CheckStoragePath(directory));
  const Result<OpenDirectoryPtr> root = Root(/*make=*/false);
  if (!root.ok()) return root.status();
  std::vector<FileInfo> files;
  if (root.value() == nullptr) return files;
  const Result<OpenDirectoryPtr> found = directory.empty() ? root : root.value()->Find(directory);
  if (!found.ok()) return found.status();
  if (found.value() == nullptr) return files;
  // A descriptor of its own, since listing moves it.
  RETURN_IF_ERROR(ListInto(openat(found.value()->fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                           found.value()->path(),
                           directory.empty() ? "" : std::string(directory) + "/", files));
  std::sort(files.begin(), files.end(),
            [](const FileInfo& a, const FileInfo& b) { return a.path < b.path; });
  return files;
}

Result<std::optional<FileInfo>> LocalStorage::Stat(std::string_view path) {
  const Result<Place> place = Find(path);
  if (!place.ok()) return place.status();
  const auto& [directory, name] = place.value();
  if (directory == nullptr) return std::optional<FileInfo>();
  struct stat status {};
  if (fstatat(directory->fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (IsAbsent(errno)) return std::optional<FileInfo>();
    return SystemError(errno, "look at", root_ / path);
  }
  if (!S_ISREG(status.st_mode)) return std::optional<FileInfo>();
  return std::optional<FileInfo>(InfoOf(std::string(path), status));
}

Status LocalStorage::Delete(std::string_view path) {
  const Result<Place> place = Find(path);
  if (!place.ok()) return place.status();
  const auto& [directory, name] = place.value();
  if (directory == nullptr) return Status::Ok();
  if (unlinkat(directory->fd(), name.c_str(), 0) == 0 || IsAbsent(errno)) return Status::Ok();
  return SystemError(errno, "delete", root_ / path);
}

}  // namespace sightline
