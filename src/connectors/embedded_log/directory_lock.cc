#include "connectors/embedded_log/directory_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/files.h"

namespace sightline::embedded_log {
namespace {

std::string Holder(int fd) {
  char text[32];
  const ssize_t size = pread(fd, text, sizeof text, 0);
  std::string_view pid(text, size > 0 ? static_cast<size_t>(size) : 0);
  pid = pid.substr(0, pid.find('\n'));
  return pid.empty() ? "another process" : fmt::format("process {}", pid);
}

}  // namespace

Result<DirectoryLock> DirectoryLock::Take(const std::string& dir) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(dir, error).lexically_normal();
  // A new directory's name is durable only once its parent has been synced. A parent that this user
  // may not open is left alone.
  if (std::filesystem::create_directories(absolute, error))
    static_cast<void>(SyncDirectory(absolute.parent_path()));
  if (error)
    return Status::Stop(
        fmt::format("cannot create the data directory '{}': {}", dir, error.message()));
  const std::string path = dir + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Status::Stop(fmt::format("cannot open '{}': {}", path, std::strerror(errno)));
  DirectoryLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0)
    return Status::Stop(fmt::format(
        "the data directory '{}' is in use by {}; stop that process, or name another directory",
        dir, Holder(fd)));
  // The process id is only for the message above; the lock itself is the kernel's.
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(fd, 0) == 0) [[maybe_unused]]
    const ssize_t n = pwrite(fd, pid.data(), pid.size(), 0);
  return lock;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace sightline::embedded_log
