#include "camera/line_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace sightline {
namespace {

constexpr size_t kReadBytes = 256 << 10;
constexpr int kStopPollMs = 50;

}  // namespace

Result<std::unique_ptr<LineReader>> LineReader::Open(const std::string& path) {
  const int fd = path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                             : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return Status::Stop(
        fmt::format("the recording '{}' cannot be opened: {}", path, std::strerror(errno)));
  return std::unique_ptr<LineReader>(new LineReader(path, fd));
}

LineReader::~LineReader() { ::close(fd_); }

Result<std::optional<std::string_view>> LineReader::Next(const std::atomic<bool>& stop) {
  while (true) {
    const size_t line_break = buffer_.find('\n', scanned_);
    if (line_break != std::string::npos) {
      const std::string_view line = std::string_view(buffer_).substr(next_, line_break - next_);
      next_ = scanned_ = line_break + 1;
      if (!std::exchange(skipping_, false)) return std::optional(line);
      continue;
    }
    if (end_) {
      const std::string_view line = std::string_view(buffer_).substr(next_);
      next_ = scanned_ = buffer_.size();
      if (line.empty() || std::exchange(skipping_, false)) return std::optional<std::string_view>();
      return std::optional(line);
    }
    buffer_.erase(0, next_);
    next_ = 0;
    if (buffer_.size() > static_cast<size_t>(kLineBytesMax) && !skipping_) {
      LogWarning(fmt::format("the recording '{}' has a line longer than {} bytes, which is skipped",
                             path_, kLineBytesMax));
      skipping_ = true;
    }
    if (skipping_) buffer_.clear();
    scanned_ = buffer_.size();
    RETURN_IF_ERROR(Fill(stop));
    if (stop) return std::optional<std::string_view>();
  }
}

// Reads once, or finds the end. Returns early when `stop` is set, which a plain read() would not
// see.
Status LineReader::Fill(const std::atomic<bool>& stop) {
  pollfd ready{fd_, POLLIN, 0};
  while (!stop && ::poll(&ready, 1, kStopPollMs) == 0) {
  }
  if (stop) return Status::Ok();
  char bytes[kReadBytes];
  const ssize_t got = ::read(fd_, bytes, sizeof bytes);
  if (got < 0 && errno == EINTR) return Status::Ok();
  if (got < 0)
    return Status::Stop(
        fmt::format("the recording '{}' cannot be read: {}", path_, std::strerror(errno)));
  if (got == 0) {
    end_ = true;
    if (gunzip_ && !gunzip_->complete())
      return Status::Stop(fmt::format(
          "the recording '{}' is incomplete: its gzip data ends too early; copy it again", path_));
    return Status::Ok();
  }
  const std::string_view piece(bytes, static_cast<size_t>(got));
  // Only a pipe that is written byte by byte gives a first read of one byte; that is taken as
  // plain.
  if (!std::exchange(started_, true) && piece.substr(0, 2) == "\x1f\x8b")
    gunzip_ = std::make_unique<Gunzip>();
  if (!gunzip_) {
    buffer_.append(piece);
    return Status::Ok();
  }
  if (const Status status = gunzip_->Push(piece, &buffer_); !status.ok())
    return Status::Stop(fmt::format("the recording '{}' is {}", path_, status.message()));
  return Status::Ok();
}

}  // namespace sightline
