#include "live/view_history.h"

#include <utility>

namespace sightline {

void ViewHistory::Append(SseMessage message, int64_t bytes_max) {
  ++seq_;
  bytes_ += static_cast<int64_t>(message->size());
  kept_.push_back(std::move(message));
  while (kept_.size() > kept_max_ || (bytes_ > bytes_max && kept_.size() > 1)) {
    bytes_ -= static_cast<int64_t>(kept_.front()->size());
    kept_.pop_front();
  }
  snapshot_.reset();
}

void ViewHistory::SetHeartbeat(SseMessage heartbeat) {
  heartbeat_ = std::move(heartbeat);
  heartbeat_seq_ = seq_;
  ++heartbeats_;
}

void ViewHistory::SetSnapshot(SseMessage snapshot) { snapshot_ = std::move(snapshot); }

ViewHistory::Cursor ViewHistory::Resume(std::optional<int64_t> seq) const {
  Cursor cursor;
  cursor.heartbeats = heartbeats_;
  // A client says it: compared before anything is added.
  if (seq && *seq >= first_kept() - 1 && *seq <= seq_) cursor.next = *seq + 1;
  return cursor;
}

bool ViewHistory::NeedsSnapshot(const Cursor& cursor) const {
  return !cursor.next || *cursor.next < first_kept();
}

void ViewHistory::Serve(Cursor& cursor) const {
  if (snapshot_ == nullptr || !NeedsSnapshot(cursor)) return;
  cursor.snapshot = snapshot_;
  cursor.next = seq_ + 1;
  cursor.heartbeats = heartbeats_;
}

bool ViewHistory::HasFor(const Cursor& cursor) const {
  if (NeedsSnapshot(cursor)) return snapshot_ != nullptr;
  return cursor.snapshot != nullptr || *cursor.next <= seq_ ||
         (cursor.heartbeats < heartbeats_ && heartbeat_seq_ + 1 >= *cursor.next);
}

std::vector<SseMessage> ViewHistory::Take(Cursor& cursor) const {
  std::vector<SseMessage> messages;
  if (NeedsSnapshot(cursor)) {
    cursor.snapshot.reset();  // if it has one, that is too old to go on from
    Serve(cursor);
    if (NeedsSnapshot(cursor)) return messages;
  }
  if (cursor.snapshot != nullptr) messages.push_back(std::exchange(cursor.snapshot, nullptr));
  // A heartbeat belongs behind the message whose id it has: it tells the state of that moment.
  const bool heartbeat_is_due =
      cursor.heartbeats < heartbeats_ && heartbeat_seq_ + 1 >= *cursor.next;
  for (int64_t seq = *cursor.next - 1; seq <= seq_; ++seq) {
    if (seq >= *cursor.next) messages.push_back(kept_[static_cast<size_t>(seq - first_kept())]);
    if (heartbeat_is_due && seq == heartbeat_seq_) messages.push_back(heartbeat_);
  }
  cursor.next = seq_ + 1;
  cursor.heartbeats = heartbeats_;
  return messages;
}

}  // namespace sightline
