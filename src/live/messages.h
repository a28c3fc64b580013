// Messages: turns Live's answers into the JSON and the server-sent events of docs/PROTOCOL.md.
//
// Pure functions, safe on any thread. Oids become decimal strings; every string is escaped.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "live/live.h"
#include "live/ranking.h"
#include "model/segment.h"

namespace sightline {

std::string ToJson(const Top& top);
std::string ToJson(std::span<const LocationTotal> locations);
std::string ToJson(std::span<const Move> moves);
std::string ToJson(const Ledger& ledger);
// {"location":"7001"|"all","window":"5m","limit":10}
std::string ViewJson(std::optional<LocationId> location, const WindowChoice& window, int32_t limit);

// The content of a stream's message. Parts that many messages share are JSON already.
struct StreamState {
  std::string_view boot;
  int64_t seq = 0;
  int64_t now_ms = 0;
  int64_t changed_at_ms = 0;
  Millis pane_size;
  std::string_view view;       // JSON
  std::string_view locations;  // JSON
  std::string_view top;        // JSON
  std::string_view moves;      // JSON
  std::string_view ledger;     // JSON
  Watermark complete_until = kBeforeAllTime;
  std::optional<int64_t> alerts_version;  // only in heartbeats
};
// Complete server-sent events: "id: ..\nevent: ..\ndata: ..\n\n".
std::string SnapshotEvent(const StreamState& state);
std::string ChangeEvent(const StreamState& state);
std::string HeartbeatEvent(const StreamState& state);

// The seq of an id "<boot>-<seq>"; none if the id is of another boot or of another form.
std::optional<int64_t> SeqOfId(std::string_view id, std::string_view boot);

}  // namespace sightline
