#include "connectors/storage/open_directory.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sightline {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

// Calls `take` for each name of a path, with the path of the directory that it lies in.
template <typename Take>
Status ForEachName(std::string_view path, const Take& take) {
  for (size_t start = 0; start < path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    RETURN_IF_ERROR(take(std::string(path.substr(0, start == 0 ? 0 : start - 1)),
                         std::string(path.substr(start, end - start))));
    start = end + 1;
  }
  return Status::Ok();
}

}  // namespace

Result<OpenDirectoryPtr> OpenDirectory::Open(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), kDirectory);
  if (fd < 0) return SystemError(errno, "open", path);
  return OpenDirectoryPtr(new OpenDirectory(fd, path));
}

bool OpenDirectory::Is(const struct stat& other) const {
  struct stat mine {};
  return fstat(fd(), &mine) == 0 && mine.st_nlink > 0 && mine.st_dev == other.st_dev &&
         mine.st_ino == other.st_ino;
}

Status OpenDirectory::Sync() const {
  return fsync(fd()) == 0 ? Status::Ok() : SystemError(errno, "sync", path_);
}

// Null: there is none.
Result<OpenDirectoryPtr> OpenDirectory::Enter(const std::string& name) const {
  const int next = openat(fd(), name.c_str(), kDirectory | O_NOFOLLOW);
  if (next >= 0) return OpenDirectoryPtr(new OpenDirectory(next, path_ / name));
  if (errno == ENOENT) return OpenDirectoryPtr();
  const int error = errno;
  struct stat status {};
  if (fstatat(fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode))
    return Status::Stop(
        fmt::format("'{}' is refused: it is a symbolic link; put the directory itself in its place",
                    (path_ / name).native()));
  return SystemError(error, "open", path_ / name);
}

Result<OpenDirectoryPtr> OpenDirectory::Find(std::string_view path) const {
  OpenDirectoryPtr at;
  bool missing = false;
  RETURN_IF_ERROR(ForEachName(path, [&](const std::string&, const std::string& name) {
    if (missing) return Status::Ok();
    Result<OpenDirectoryPtr> next = (at == nullptr ? this : at.get())->Enter(name);
    if (!next.ok()) return next.status();
    at = std::move(next).value();
    missing = at == nullptr;
    return Status::Ok();
  }));
  return at;
}

Result<OpenDirectoryPtr> OpenDirectory::FindOrMake(std::string_view path,
                                                   const OnChange& changed) const {
  OpenDirectoryPtr at;
  RETURN_IF_ERROR(ForEachName(path, [&](const std::string& in, const std::string& name) {
    const OpenDirectory& parent = at == nullptr ? *this : *at;
    Result<OpenDirectoryPtr> next = parent.Enter(name);
    if (next.ok() && next.value() == nullptr) {
      if (mkdirat(parent.fd(), name.c_str(), 0777) != 0 && errno != EEXIST)
        return SystemError(errno, "make the directory", parent.path() / name);
      RETURN_IF_ERROR(changed(in, parent));
      next = parent.Enter(name);
    }
    if (!next.ok()) return next.status();
    if (next.value() == nullptr) return SystemError(ENOENT, "open", parent.path() / name);
    at = std::move(next).value();
    return Status::Ok();
  }));
  return at;
}

}  // namespace sightline
