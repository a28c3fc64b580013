// DirectoryLock: one owner for a data directory, across processes and within one.
//
// A flock on '<dir>/lock'; the kernel lets go of it when the owner dies, however it dies.
#pragma once

#include <string>

#include "base/status.h"

namespace sightline::embedded_log {

class DirectoryLock {
 public:
  // Makes the directory if it is not there. kStop, naming the holder, if somebody has it.
  static Result<DirectoryLock> Take(const std::string& dir);
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace sightline::embedded_log
