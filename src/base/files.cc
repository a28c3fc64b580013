#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>

namespace sightline {

// Process ids are reused: the time tells this process from an earlier one that had the same id and
// was killed before it removed its file.
std::string TemporaryName(std::string_view prefix) {
  static std::atomic<int64_t> names = 0;
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return fmt::format("{}{}-{}-{}{:09}", prefix, getpid(), ++names, now.tv_sec, now.tv_nsec);
}

Status SystemError(int error, std::string_view doing, const std::filesystem::path& path) {
  std::string message =
      fmt::format("cannot {} '{}': {}", doing, path.native(), std::strerror(error));
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
    case EEXIST:  // a file of another kind lies where a directory should be
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return Status::Stop(message + "; correct it, and start again what has ended because of it");
    case ENOSPC:
    case EDQUOT:
      return Status::Retry(message +
                           "; free some disk space: the operation is then retried by itself");
    case EMFILE:
    case ENFILE:
      return Status::Retry(message + "; raise the limit on open files (ulimit -n)");
    default:
      return Status::Retry(message);
  }
}

Status SyncDirectory(const std::filesystem::path& dir) {
  const File file(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!file.ok()) return SystemError(errno, "open", dir);
  return fsync(file.fd()) == 0 ? Status::Ok() : SystemError(errno, "sync", dir);
}

TemporaryFile::TemporaryFile(const std::filesystem::path& dir, std::string_view prefix)
    : path_(dir / TemporaryName(prefix)) {}

}  // namespace sightline
