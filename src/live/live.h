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
#include "live/completeness.h"
#include "live/ranking.h"
#include "model/scope.h"
#include "model/segment.h"
#include "model/types.h"
#include "model/window_choice.h"

namespace sightline {

struct LiveOptions {
  Millis pane_size{10'000};
  Millis window_size{60'000};               // a multiple of pane_size
  Millis pane_retention{24 * 3'600'000LL};  // panes; beyond it, up to 25 h, steps of window_size
  Millis idle_timeout{30'000};
  Millis out_of_orderness{10'000};
  LogEndOf log_end;  // called under Live's mutex
};

// What Committed() says of a partition of which nothing was applied: engine/sink.h's
// kNoneCommitted.
constexpr Offset kNothingApplied{-1};

// Names and zones of the location table (Dataset B), swapped whole.
struct LocationInfo {
  LocationId location;
  std::string name;
  std::string time_zone;  // IANA; empty or unknown: UTC
};

struct LocationTotal {
  LocationId location;
  std::string name;  // empty: unknown to the location table
  int64_t total = 0;
  std::string top_item;  // empty when total is 0
  friend bool operator==(const LocationTotal&, const LocationTotal&) = default;
};

// What Read() is asked of one location (none: all of the scope together).
struct TopQuery {
  std::optional<LocationId> location;
  int32_t limit = 10;
};
// One moment of Live, for a reader that remembers what it read before.
struct Reading {
  uint64_t stamp = 0;      // pass it to the next Read() of the same scope and window
  bool everything = true;  // false: `locations` holds only those that may have changed
  int64_t now_ms = 0;
  int64_t changed_at_ms = 0;  // when the newest applied change reached Live; 0: none yet
  Watermark complete_until = kBeforeAllTime;
  Ledger ledger;
  std::vector<LocationTotal> locations;  // by name, then oid
  std::vector<Top> tops;                 // one a query
};

class Live {
 public:
  Live(LiveOptions options, const Clock* clock);
  ~Live();

  // -- feeding, by the engine ------------------------------------------------------------------
  // Before the tasks start, for every partition that there is (completeness waits for all of them):
  // what the durable counts say, and the offset and watermark up to which they say it; committed is
  // kNothingApplied where there are none. `total` is the ledger of everything before `committed`;
  // `segments`, in any order, are those of it that are at hand: their rows give the panes and the
  // ledger by location. A second call for a partition adds its segments; its `committed` and
  // `total` replace the first's.
  void Load(const SourcePartition& partition, std::span<const Segment> segments, Offset committed,
            const Ledger& total, Watermark watermark = kBeforeAllTime);
  // Of this partition there will be counts: windows are complete when it has had its say, too.
  // Nothing if it is known.
  void Expect(const SourcePartition& partition);
  // kNothingApplied before anything was loaded or applied.
  Offset Committed(const SourcePartition& partition) const;
  // Compare-and-set on the partition's offset; false if segments.front().first is not it, or if the
  // segments are not contiguous. A partition without offset takes its first segment whatever that
  // one's `first` is. (A writer that breaks in between two segments leaves the first ones applied,
  // as Committed() then says.)
  bool Apply(const SourcePartition& partition, std::span<const Segment> segments);
  // Reads zoneinfo files: not for a thread that must not wait.
  void SetLocations(std::vector<LocationInfo> locations);

  // -- reading ---------------------------------------------------------------------------------
  Top TopItems(const Scope& scope, std::optional<LocationId> location, const WindowChoice& window,
               int32_t limit) const;
  // Locations of the scope that have ever counted or are in the location table, by name then oid.
  std::vector<LocationTotal> Locations(const Scope& scope, const WindowChoice& window) const;
  // Of unreadable parts ("unknown") only Scope::All sees anything.
  Ledger LedgerTotal(const Scope& scope) const;
  Watermark CompleteUntil() const;
  // Grows with every change that a reader could see, except what the clock alone changes.
  uint64_t version() const;
  // `changed` is called after a change, on the engine's thread, and must only wake somebody. Every
  // callback is kept for Live's whole life.
  void OnChange(std::function<void()> changed) const;
  int64_t memory_bytes() const;  // walks everything: for /metrics

  const LiveOptions& options() const;
  // When the newest applied change reached Live, by the clock; 0: none yet.
  int64_t changed_at_ms() const;
  // From here on everything that was ever applied or loaded is still known: `at` before it is not.
  EventTime oldest() const;
  int64_t items() const;  // distinct names in memory

  // All that a view shows, at one moment. `since` is the stamp of the reader's last Reading, 0 for
  // none: where `window` is followed, only locations that changed after it are listed - unless
  // counts were loaded or a location went away since then, which gives everything again.
  Reading Read(const Scope& scope, const WindowChoice& window, std::span<const TopQuery> queries,
               uint64_t since) const;
  // While one lives, its window is read at the cost of its items, not of its panes.
  class Followed {
   public:
    ~Followed();

   private:
    friend class Live;
    Followed(const Live* live, WindowChoice window) : live_(live), window_(window) {}
    const Live* const live_;
    const WindowChoice window_;
  };
  // nullptr if enough windows are followed, or `window` has an end. Live outlives what it returns.
  std::unique_ptr<Followed> Follow(const WindowChoice& window) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
