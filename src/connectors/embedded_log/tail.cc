#include "connectors/embedded_log/tail.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sightline::embedded_log {

Stream& Tail::Get(std::string_view topic, int32_t partition) {
  CHECK(partition >= 0 && partition < partitions_);
  const std::lock_guard lock(mutex_);
  auto it = topics_.find(topic);
  if (it == topics_.end()) {
    it = topics_.try_emplace(std::string(topic)).first;
    // All partitions of a topic are created together, so that a partition is an index of the
    // vector.
    for (int32_t p = 0; p < partitions_; ++p) {
      auto stream = std::make_unique<Stream>();
      stream->topic = topic;
      stream->partition = p;
      it->second.push_back(std::move(stream));
    }
  }
  return *it->second[static_cast<size_t>(partition)];
}

Tail::View Tail::Look(const Stream& stream, Offset offset) const {
  const std::lock_guard lock(mutex_);
  View view{.position = stream.position};
  // The block that begins at or before the offset is the only one that can have it.
  const auto after = std::upper_bound(
      stream.blocks.begin(), stream.blocks.end(), offset,
      [](Offset o, const std::shared_ptr<const Block>& b) { return o < b->first; });
  if (after != stream.blocks.begin() && offset < (*std::prev(after))->next)
    view.block = *std::prev(after);
  return view;
}

void Tail::Publish(std::vector<Change>&& changes) {
  const std::lock_guard lock(mutex_);
  for (Change& change : changes) {
    Stream& stream = *change.stream;
    stream.position = change.position;
    for (std::shared_ptr<const Block>& block : change.blocks) {
      bytes_ += block->memory();
      order_.push_back(&stream);
      stream.blocks.push_back(std::move(block));
    }
  }
  // Drops the oldest blocks of all streams together: a busy stream may use the memory of quiet
  // ones.
  while (bytes_ > bytes_max_ && !order_.empty()) {
    Stream& oldest = *order_.front();
    order_.pop_front();
    bytes_ -= oldest.blocks.front()->memory();
    oldest.blocks.pop_front();
  }
}

void Tail::ForEach(const std::function<void(const Stream&)>& visit) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [topic, streams] : topics_)
    for (const auto& stream : streams) visit(*stream);
}

AppendTime Tail::newest() const {
  AppendTime newest = kNoAppendTime;
  ForEach(
      [&newest](const Stream& stream) { newest = std::max(newest, stream.position.append_time); });
  return newest;
}

int64_t Tail::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

int64_t Tail::stored_bytes() const {
  const std::lock_guard lock(mutex_);
  int64_t bytes = 0;
  for (const auto& [topic, streams] : topics_)
    for (const auto& stream : streams) bytes += stream->position.bytes;
  return bytes;
}

}  // namespace sightline::embedded_log
