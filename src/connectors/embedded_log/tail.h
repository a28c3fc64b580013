// Tail: where every partition of every topic begins and ends, and its newest blocks in memory, so
// that a reader at the end of a partition never touches the file.
//
// Thread-safe. Only the writer's thread changes it, after a transaction has become durable.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/embedded_log/block.h"
#include "model/types.h"

namespace sightline::embedded_log {

// One partition of a topic. It never moves, and exists as long as the log is open.
struct Stream {
  std::string topic;
  int32_t partition = 0;

  // Guarded by Tail's mutex. Only the writer's thread changes it; that thread reads it without the
  // mutex.
  struct Position {
    Offset oldest, next;
    AppendTime append_time = kNoAppendTime;  // of the newest record
    int64_t bytes = 0;
  } position;
  // The newest blocks, without a hole, up to `next`.
  std::deque<std::shared_ptr<const Block>> blocks;
};

class Tail {
 public:
  Tail(int32_t partitions, int64_t bytes_max) : partitions_(partitions), bytes_max_(bytes_max) {}

  // Returns the stream, and creates the topic if it is new to this process. `partition` must be in
  // [0, partitions).
  Stream& Get(std::string_view topic, int32_t partition);

  int32_t partitions() const { return partitions_; }

  struct View {
    Stream::Position position;
    // The block with the requested offset; null if it is not in memory.
    std::shared_ptr<const Block> block;
  };
  View Look(const Stream& stream, Offset offset) const;

  // What a committed transaction has changed.
  struct Change {
    Stream* stream = nullptr;
    Stream::Position position;
    std::vector<std::shared_ptr<const Block>> blocks;  // appended
  };
  void Publish(std::vector<Change>&& changes);

  void ForEach(const std::function<void(const Stream&)>& visit) const;
  AppendTime newest() const;     // of all records; kNoAppendTime: there is none
  int64_t bytes() const;         // in memory
  int64_t stored_bytes() const;  // in the file, over all streams

 private:
  const int32_t partitions_;
  const int64_t bytes_max_;

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<std::unique_ptr<Stream>>, std::less<>> topics_;
  std::deque<Stream*> order_;  // the stream of each block in memory, oldest first
  int64_t bytes_ = 0;
};

}  // namespace sightline::embedded_log
