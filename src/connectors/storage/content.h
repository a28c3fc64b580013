// Content: what a put writes. A view: the bytes lie in memory or in an open file, and must outlive
// the put. It can be read from any offset and again, since a put that failed begins again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

class Content {
 public:
  Content() = default;
  // NOLINTBEGIN(google-explicit-constructor): bytes are content.
  Content(std::string_view bytes) : bytes_(bytes), size_(static_cast<int64_t>(bytes.size())) {}
  Content(const std::string& bytes) : Content(std::string_view(bytes)) {}
  Content(const char* bytes) : Content(std::string_view(bytes)) {}
  // NOLINTEND(google-explicit-constructor)
  // The first `size` bytes of an open file, which nobody changes.
  static Content OfFile(int fd, int64_t size);

  int64_t size() const { return size_; }
  // Reads from `offset` on, into the whole of `into` unless the content ends before. Thread-safe.
  // kRetry: the file cannot be read, or is shorter.
  Result<size_t> Read(int64_t offset, std::span<char> into) const;

 private:
  std::string_view bytes_;
  int fd_ = -1;  // -1: in memory
  int64_t size_ = 0;
};

}  // namespace sightline
