// ViewHistory: the last messages of one view, and what a viewer of it lacks.
//
// One log serves any number of viewers; a viewer is only a Cursor. Not thread-safe: the hub's mutex
// guards it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sightline {

// A complete server-sent event ("id: <boot>-<seq>\nevent: snapshot|change|heartbeat\ndata:
// ...\n\n"). Shared, because every viewer of the view sends the same bytes at its own pace.
using SseMessage = std::shared_ptr<const std::string>;

class ViewHistory {
 public:
  // Where a viewer stands.
  struct Cursor {
    std::optional<int64_t> next;  // the seq that it lacks first; none: it needs a snapshot
    SseMessage snapshot;          // to be sent before `next`
    int64_t heartbeats = 0;       // number of the last heartbeat that it has no use for
  };

  // The view's state before its first message is `seq`. At most `kept_max` messages are kept.
  ViewHistory(int64_t seq, size_t kept_max) : seq_(seq), kept_max_(kept_max) {}

  int64_t seq() const { return seq_; }
  int64_t bytes() const { return bytes_; }
  // The message seq() + 1. Drops the oldest messages beyond kept_max or, but for the newest one,
  // bytes_max.
  void Append(SseMessage message, int64_t bytes_max);
  // The heartbeat of now: its id is that of seq().
  void SetHeartbeat(SseMessage heartbeat);
  // A snapshot that shows the state of seq(). Whoever needs one and comes before the next Append()
  // is served with it.
  void SetSnapshot(SseMessage snapshot);

  // A viewer that has everything up to `seq`, or a new one. Who cannot be resumed needs a snapshot.
  Cursor Resume(std::optional<int64_t> seq) const;
  // Gives a cursor that needs a snapshot the present one, if there is one.
  void Serve(Cursor& cursor) const;
  // True if the cursor waits for a snapshot.
  bool NeedsSnapshot(const Cursor& cursor) const;
  // True if Take() has something to send.
  bool HasFor(const Cursor& cursor) const;
  // What the viewer lacks, oldest first: at most kept_max messages, a snapshot and a heartbeat.
  // Empty if it lacks nothing or needs a snapshot that is not there yet.
  std::vector<SseMessage> Take(Cursor& cursor) const;

 private:
  int64_t first_kept() const { return seq_ + 1 - static_cast<int64_t>(kept_.size()); }

  int64_t seq_;
  const size_t kept_max_;
  std::deque<SseMessage> kept_;  // those of [first_kept(), seq_]
  int64_t bytes_ = 0;            // of kept_
  SseMessage heartbeat_;
  int64_t heartbeat_seq_ = 0;
  int64_t heartbeats_ = 0;  // number of heartbeat_
  SseMessage snapshot_;     // of seq_; null when there is none of seq_
};

}  // namespace sightline
