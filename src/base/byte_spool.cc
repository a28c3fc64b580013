#include "base/byte_spool.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace sightline {
namespace {

// A file in `folder` that has no name any more. Not every file system has O_TMPFILE.
int OpenNameless(const std::string& folder) {
  const int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || errno == ENOENT || errno == ENOSPC) return fd;
  std::string name = folder + "/" + TemporaryName(".spool-");
  const int named = open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (named >= 0) unlink(name.c_str());
  return named;
}

}  // namespace

void ByteSpool::Write(std::string_view bytes) {
  size_ += static_cast<int64_t>(bytes.size());
  if (!failed_.ok()) return;
  memory_.append(bytes);
  if (!folder_.empty() && static_cast<int64_t>(memory_.size()) > memory_max_) WriteOut();
}

Status ByteSpool::Finish() {
  if (file_ != nullptr && failed_.ok()) WriteOut();
  return failed_;
}

void ByteSpool::WriteOut() {
  if (file_ == nullptr) file_ = std::make_unique<File>(OpenNameless(folder_));
  if (!file_->ok()) {
    failed_ = SystemError(errno, "make a file in", folder_);
    return;
  }
  std::string_view left = memory_;
  while (!left.empty()) {
    const ssize_t n = write(file_->fd(), left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      failed_ = SystemError(errno, "write a file in", folder_);
      return;
    }
    left.remove_prefix(static_cast<size_t>(n));
  }
  memory_.clear();
}

}  // namespace sightline
