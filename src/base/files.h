// Files of the disk: descriptors that close themselves, what a failed call means to whoever waits,
// and names that are durable.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string_view>

#include "base/status.h"

namespace sightline {

// Owns what open(2) gave, which may be -1.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  const int fd_;
};

// What a failed system call means: kStop if only a person can help (permissions), else kRetry.
Status SystemError(int error, std::string_view doing, const std::filesystem::path& path);

// A new name in a directory is durable when the directory is.
Status SyncDirectory(const std::filesystem::path& dir);

// The name of a temporary file in `dir`, that no other process has; nothing lies there yet. What
// lies there later is removed by the destructor.
class TemporaryFile {
 public:
  TemporaryFile(const std::filesystem::path& dir, std::string_view prefix);
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
};

}  // namespace sightline
