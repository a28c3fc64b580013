// DirectoryLock: makes sure that a data directory has one owner, across processes and within one.
//
// A flock on '<dir>/lock'. The kernel releases it when the owner dies, however that happens.
#pragma once

#include <string>

#include "base/status.h"

namespace sightline::embedded_log {

class DirectoryLock {
 public:
  // Takes the lock, and creates the directory if needed. kStop, naming the holder, if somebody has
  // the lock.
  static Result<DirectoryLock> Take(const std::string& dir);
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace sightline::embedded_log
