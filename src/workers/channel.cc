#include "workers/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace sightline {
namespace {

constexpr size_t kHeaderBytes = 8;
constexpr size_t kFilesMax = 4;
constexpr size_t kReadBytes = 256 * 1024;

Status Closed() { return Status::Retry("the other side of the channel has closed"); }

std::array<char, kHeaderBytes> Header(FrameType type, size_t files, size_t payload) {
  std::array<char, kHeaderBytes> header{};
  header[0] = static_cast<char>(type);
  header[1] = static_cast<char>(files);
  const auto size = static_cast<uint32_t>(payload);
  std::memcpy(header.data() + 4, &size, sizeof size);
  return header;
}

union Control {
  cmsghdr align;
  char bytes[CMSG_SPACE(kFilesMax * sizeof(int))];
};

void Attach(std::span<const int> files, Control& control, msghdr& message) {
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(files.size_bytes());
  cmsghdr* const part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(files.size_bytes());
  std::memcpy(CMSG_DATA(part), files.data(), files.size_bytes());
}

}  // namespace

Status Channel::Wait(short events, const Tick& tick) const {
  for (;;) {
    if (tick) RETURN_IF_ERROR(tick());
    pollfd ready{.fd = fd(), .events = events, .revents = 0};
    const int count = poll(&ready, 1, tick ? kTickMs : -1);
    if (count > 0) return Status::Ok();
    if (count < 0 && errno != EINTR) return Closed();
  }
}

Status Channel::Send(FrameType type, std::string_view payload, const Tick& tick,
                     std::span<const int> files) {
  CHECK(files.size() <= kFilesMax && payload.size() <= UINT32_MAX);
  std::array<char, kHeaderBytes> header = Header(type, files.size(), payload.size());
  Control control;
  bool attached = files.empty();
  for (size_t sent = 0; sent < kHeaderBytes + payload.size();) {
    std::array<iovec, 2> parts{};
    const size_t of_payload = sent < kHeaderBytes ? 0 : sent - kHeaderBytes;
    const size_t of_header = std::min(sent, kHeaderBytes);
    parts[0] = {header.data() + of_header, kHeaderBytes - of_header};
    parts[1] = {const_cast<char*>(payload.data()) + of_payload, payload.size() - of_payload};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (!attached) Attach(files, control, message);
    const ssize_t count = sendmsg(fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      attached = true;
      sent += static_cast<size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      RETURN_IF_ERROR(Wait(POLLOUT, tick));
    } else if (errno != EINTR) {
      return Closed();
    }
    if (tick && sent < kHeaderBytes + payload.size()) RETURN_IF_ERROR(tick());
  }
  return Status::Ok();
}

Status Channel::ReadMore(const Tick& tick) {
  if (begin_ > kReadBytes) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  const size_t before = buffer_.size();
  buffer_.resize(before + kReadBytes);
  ssize_t count = -1;
  Status waited = Status::Ok();
  while (waited.ok()) {
    iovec part{buffer_.data() + before, kReadBytes};
    Control control;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    count = recvmsg(fd(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    for (cmsghdr* c = count > 0 ? CMSG_FIRSTHDR(&message) : nullptr; c != nullptr;
         c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
        int file = -1;
        std::memcpy(&file, CMSG_DATA(c) + i * sizeof(int), sizeof file);
        files_.push_back(std::make_shared<const File>(file));
      }
    }
    if (count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) break;
    if (errno != EINTR) waited = Wait(POLLIN, tick);
  }
  buffer_.resize(before + static_cast<size_t>(std::max<ssize_t>(count, 0)));
  if (!waited.ok()) return waited;
  return count > 0 ? Status::Ok() : Closed();
}

Result<Frame> Channel::Receive(size_t payload_max, const Tick& tick) {
  for (;;) {
    const std::string_view have = std::string_view(buffer_).substr(begin_);
    if (have.size() >= kHeaderBytes) {
      uint32_t size = 0;
      std::memcpy(&size, have.data() + 4, sizeof size);
      const auto files = static_cast<unsigned char>(have[1]);
      if (size > payload_max || files > kFilesMax) return Status::Stop("no frame came");
      if (have.size() >= kHeaderBytes + size) {
        if (files_.size() < files) return Status::Stop("a frame came without its descriptors");
        Frame frame{.type = static_cast<FrameType>(have[0]),
                    .payload = std::string(have.substr(kHeaderBytes, size)),
                    .files = {files_.begin(), files_.begin() + files}};
        files_.erase(files_.begin(), files_.begin() + files);
        begin_ += kHeaderBytes + size;
        if (begin_ == buffer_.size()) {
          buffer_.clear();
          begin_ = 0;
        }
        return frame;
      }
    }
    if (tick) RETURN_IF_ERROR(tick());
    RETURN_IF_ERROR(ReadMore(tick));
  }
}

Result<std::pair<std::unique_ptr<const File>, std::unique_ptr<const File>>> SocketPair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return SystemError(errno, "create", "a socket");
  return std::pair(std::make_unique<const File>(ends[0]), std::make_unique<const File>(ends[1]));
}

}  // namespace sightline
