#include "connectors/storage/content.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/files.h"

namespace sightline {

Content Content::OfFile(int fd, int64_t size) {
  Content content;
  content.fd_ = fd;
  content.size_ = size;
  return content;
}

Result<size_t> Content::Read(int64_t offset, std::span<char> into) const {
  const int64_t left = std::max<int64_t>(0, size_ - offset);
  const size_t count = std::min(into.size(), static_cast<size_t>(left));
  if (fd_ < 0) {
    if (count > 0) std::memcpy(into.data(), bytes_.data() + offset, count);
    return count;
  }
  for (size_t have = 0; have < count;) {
    const ssize_t got =
        pread(fd_, into.data() + have, count - have, offset + static_cast<int64_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(errno, "read", "the file that is put");
    if (got == 0) return Status::Retry("the file that is put has become shorter");
    have += static_cast<size_t>(got);
  }
  return count;
}

}  // namespace sightline
