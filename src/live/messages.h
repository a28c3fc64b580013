// Messages: what Live says, as the JSON and the server-sent events of docs/PROTOCOL.md.
//
// Pure functions; safe to use from any thread. Oids are decimal strings, every string is escaped.
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

// What a message of a stream says, in parts that are JSON already where they are shared.
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
  std::optional<int64_t> alerts_version;  // of heartbeats
};
// Complete server-sent events: "id: ..\nevent: ..\ndata: ..\n\n".
std::string SnapshotEvent(const StreamState& state);
std::string ChangeEvent(const StreamState& state);
std::string HeartbeatEvent(const StreamState& state);

// `seq` of an id "<boot>-<seq>" of this boot; none for anything else.
std::optional<int64_t> SeqOfId(std::string_view id, std::string_view boot);

}  // namespace sightline
