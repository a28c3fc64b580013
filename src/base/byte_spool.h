// ByteSpool: bytes that are written once, piece by piece, and read by somebody else later: in
// memory while they are few, and in a file without a name beyond that. The file is never synced: it
// dies with the process.
//
// One thread writes, up to Finish(). From then on it is immutable and thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/status.h"

namespace sightline {

class ByteSpool {
 public:
  static constexpr int64_t kMemoryMax = 1 << 20;

  // `folder` exists and gets the file. Empty: everything stays in memory.
  explicit ByteSpool(std::string folder = "", int64_t memory_max = kMemoryMax)
      : folder_(std::move(folder)), memory_max_(memory_max) {}

  // The first failure is kept for Finish().
  void Write(std::string_view bytes);
  // kRetry or kStop, as SystemError(): the bytes could not be written.
  Status Finish();

  int64_t size() const { return size_; }
  // The bytes, if fd() is -1.
  const std::string& in_memory() const { return memory_; }
  // The file, whose first size() bytes they are.
  int fd() const { return file_ == nullptr ? -1 : file_->fd(); }

 private:
  void WriteOut();

  const std::string folder_;
  const int64_t memory_max_;
  std::string memory_;  // with a file: what is not written yet
  std::unique_ptr<File> file_;
  int64_t size_ = 0;
  Status failed_ = Status::Ok();
};

}  // namespace sightline
