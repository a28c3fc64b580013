// File helpers: descriptors that close themselves, the meaning of a failed system call, and names
// that survive a crash.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace sightline {

// Owns the descriptor that open(2) returned. It may be -1, which ok() reports.
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

// Turns the errno of a failed system call into a Status: kStop if only a person can help
// (permissions, a wrong kind of file), otherwise kRetry. `doing` is a verb: "cannot <doing>
// '<path>'".
Status SystemError(int error, std::string_view doing, const std::filesystem::path& path);

// Makes the names in a directory durable. A new file survives a crash of the machine only when its
// directory has been synced, too.
Status SyncDirectory(const std::filesystem::path& dir);

// A file name that begins with `prefix` and that no other process uses.
std::string TemporaryName(std::string_view prefix);

// A temporary file in `dir` with such a name. The constructor creates nothing.
// The destructor removes the file if the caller has created it.
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
