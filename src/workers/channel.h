// Channel: messages with descriptors between the server and a worker, over one socket.
//
// A frame on the wire is its type (1 byte), the number of descriptors (1 byte), two zero bytes, the
// size of the payload (4 bytes, little-endian) and the payload. One thread at a time sends, and one
// receives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/status.h"

namespace sightline {

enum class FrameType : uint8_t {
  // To the worker.
  kSetup = 1,  // WorkerSetup; the first frame
  kAsk,        // AskMessage
  kState,      // StateMessage, with up to three descriptors of rows
  kReadFile,   // a path: answered by kEnd, which says why the file cannot be read
  // To the server.
  kReady,  // empty: the worker can answer
  kNeeds,  // NeedsMessage; answered by kState
  kBytes,  // the next bytes of the answer
  kEnd,    // EndMessage
};

struct Frame {
  FrameType type = FrameType::kEnd;
  std::string payload;
  std::vector<std::shared_ptr<const File>> files;
};

class Channel {
 public:
  // Called while the channel waits, at least every 10 ms. A failure ends the wait and is returned.
  // Null: the channel waits without an end.
  using Tick = std::function<Status()>;
  static constexpr int kTickMs = 10;

  explicit Channel(std::unique_ptr<const File> socket) : socket_(std::move(socket)) {}

  // kRetry: the other side has closed.
  Status Send(FrameType type, std::string_view payload, const Tick& tick = nullptr,
              std::span<const int> files = {});
  // The next frame. kRetry: the other side has closed. kStop: what came is not a frame, or its
  // payload is larger than `payload_max`.
  Result<Frame> Receive(size_t payload_max, const Tick& tick = nullptr);
  int fd() const { return socket_->fd(); }

 private:
  Status Wait(short events, const Tick& tick) const;
  Status ReadMore(const Tick& tick);

  std::unique_ptr<const File> socket_;
  std::string buffer_;  // what came and is not a whole frame yet, from begin_ on
  size_t begin_ = 0;
  std::deque<std::shared_ptr<const File>> files_;  // that came and belong to no frame yet
};

// The two ends of a channel. Both close on exec.
Result<std::pair<std::unique_ptr<const File>, std::unique_ptr<const File>>> SocketPair();

}  // namespace sightline
