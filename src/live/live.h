// Live: what is true now, exact, for any location and window.
//
// Holds panes of counts per location and item for pane_retention, and the ledger. Fed by LiveSink
// (one per engine task) on the engine's threads; read by the hub and the HTTP API on theirs.
// Thread-safe: one mutex, held for the rows of one segment or the rows of one answer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "live/scope.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

struct LiveOptions {
  Millis pane_size{10'000};
  Millis window_size{60'000};
  Millis pane_retention{24 * 3'600'000LL};  // panes; beyond it, up to 25 h, steps of window_size
  Millis idle_timeout{30'000};
  Millis out_of_orderness{10'000};
};

// Names and zones of the location table (Dataset B), swapped whole.
struct LocationInfo {
  LocationId location;
  std::string name;
  std::string time_zone;  // IANA; empty: UTC
};

// Which window, relative to now: the last `length`, or "today" of the location's zone, or ending at
// a pane in the past (any sliding window of panes).
struct WindowChoice {
  bool today = false;
  Millis length{300'000};
  std::optional<EventTime> end;  // none: now
  friend auto operator<=>(const WindowChoice&, const WindowChoice&) = default;
  // "1m" "5m" "60m" "90s" "2h" "today"; kStop with what is accepted.
  static Result<WindowChoice> Parse(std::string_view text);
  std::string ToString() const;
};

struct TopRow {
  int32_t position = 0;  // 1..n: by count, largest first, then by item name in byte order
  int32_t rank = 0;      // SQL's RANK()
  std::string item;
  int64_t count = 0;
  int64_t provisional = 0;  // the part of `count` in windows that are not complete yet
  friend bool operator==(const TopRow&, const TopRow&) = default;
};
struct Top {
  std::optional<LocationId> location;  // none: all locations of the scope together
  Window window;
  Watermark complete_until = kBeforeAllTime;  // panes that end at or before it are complete
  int64_t total = 0;
  int64_t other = 0;  // total minus the rows: the sum always adds up
  int32_t items = 0;  // distinct items in the window
  std::vector<TopRow> rows;
};
struct LocationTotal {
  LocationId location;
  std::string name;  // empty: unknown to the location table
  int64_t total = 0;
  std::string top_item;  // empty when total is 0
};

class Live {
 public:
  Live(LiveOptions options, const Clock* clock);
  ~Live();

  // -- feeding, by the engine ------------------------------------------------------------------
  // Before the tasks start: what the durable counts say, and the offset up to which they say it.
  void Load(const SourcePartition& partition, std::span<const Segment> segments, Offset committed,
            const Ledger& total);
  // kNoneCommitted before anything was loaded or applied.
  Offset Committed(const SourcePartition& partition) const;
  // Compare-and-set on the partition's offset; false if segments.front().first is not it.
  bool Apply(const SourcePartition& partition, std::span<const Segment> segments);
  // A partition was read to its end at `now_ms`, or is behind: for completeness (idle_timeout).
  void SetAtEnd(const SourcePartition& partition, bool at_end);
  void SetLocations(std::vector<LocationInfo> locations);

  // -- reading ---------------------------------------------------------------------------------
  Top TopItems(const Scope& scope, std::optional<LocationId> location, const WindowChoice& window,
               int32_t limit) const;
  // Locations of the scope that have ever counted or are in the location table, by name then oid.
  std::vector<LocationTotal> Locations(const Scope& scope, const WindowChoice& window) const;
  Ledger LedgerTotal(const Scope& scope) const;
  Watermark CompleteUntil() const;
  // Grows with every change that a reader could see.
  uint64_t version() const;
  // `changed` is called after a change, on the engine's thread, and must only wake somebody.
  void OnChange(std::function<void()> changed);
  int64_t memory_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
