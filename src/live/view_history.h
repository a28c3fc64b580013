// ViewHistory: the last messages of one view, and the ones that a viewer of it lacks.
//
// One history serves any number of viewers; a viewer is only a Cursor. Not thread-safe: the hub's
// mutex guards it.
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
  // The position of a viewer.
  struct Cursor {
    std::optional<int64_t> next;  // the first seq that it lacks; none: it needs a snapshot
    SseMessage snapshot;          // to be sent before `next`
    int64_t heartbeats = 0;       // number of the last heartbeat that it has or does not need
  };

  // `seq` numbers the view's state before its first message. Keeps at most `kept_max` messages.
  ViewHistory(int64_t seq, size_t kept_max) : seq_(seq), kept_max_(kept_max) {}

  int64_t seq() const { return seq_; }
  int64_t bytes() const { return bytes_; }
  // Appends message seq() + 1. Drops the oldest messages beyond kept_max or bytes_max, but never
  // the newest one.
  void Append(SseMessage message, int64_t bytes_max);
  // Replaces the heartbeat; the new one has the id of seq().
  void SetHeartbeat(SseMessage heartbeat);
  // Sets a snapshot of the state of seq(). Until the next Append() it serves every viewer that
  // needs one.
  void SetSnapshot(SseMessage snapshot);

  // A cursor for a viewer that has everything up to `seq`; none: for a new viewer. One that cannot
  // be resumed needs a snapshot.
  Cursor Resume(std::optional<int64_t> seq) const;
  // Gives the current snapshot, if there is one, to a cursor that needs it.
  void Serve(Cursor& cursor) const;
  // True if the cursor waits for a snapshot.
  bool NeedsSnapshot(const Cursor& cursor) const;
  // True if Take() has something to send.
  bool HasFor(const Cursor& cursor) const;
  // The messages that the viewer lacks, oldest first: at most kept_max, a snapshot and a heartbeat.
  // Empty if it lacks nothing, or needs a snapshot that does not exist yet.
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
  SseMessage snapshot_;     // of the state seq_; null: none was made for it
};

}  // namespace sightline
