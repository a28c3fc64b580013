// Live: the counts as they are now, exact, for any location and window.
//
// Live holds panes of counts per location and item for pane_retention, and the ledger. One LiveSink
// per engine task feeds it on the engine's threads; the hub and the HTTP API read it on theirs.
// Thread-safe: one mutex, held for the rows of one segment or of one answer.
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
#include "model/location.h"
#include "model/scope.h"
#include "model/segment.h"
#include "model/types.h"
#include "model/window_choice.h"

namespace sightline {

struct LiveOptions {
  Millis pane_size{10'000};
  Millis window_size{60'000};               // a multiple of pane_size
  Millis pane_retention{24 * 3'600'000LL};  // of panes; older counts, up to 25 h, have the
                                            // resolution of window_size
  Millis idle_timeout{30'000};
  Millis out_of_orderness{10'000};
  LogEndOf log_end;  // called under Live's mutex
};

// What Committed() returns for a partition of which nothing was applied. The value is that of
// kNoneCommitted in engine/sink.h, which this room may not include.
constexpr Offset kNothingApplied{-1};

struct LocationTotal {
  LocationId location;
  std::string name;  // empty: not in the location table
  int64_t total = 0;
  std::string top_item;  // empty when total is 0
  friend bool operator==(const LocationTotal&, const LocationTotal&) = default;
};

// What a reader wants from Read(): the top items of one location, or of the whole scope together.
struct TopQuery {
  std::optional<LocationId> location;
  int32_t limit = 10;
};
// The state of Live at one moment, for a reader that remembers what it read before.
struct Reading {
  uint64_t stamp = 0;      // pass it to the next Read() of the same scope and window
  bool everything = true;  // false: `locations` holds only those that may have changed
  int64_t now_ms = 0;
  int64_t changed_at_ms = 0;  // when the newest applied change reached Live; 0: none yet
  Watermark complete_until = kBeforeAllTime;
  Ledger ledger;
  std::vector<LocationTotal> locations;  // ordered by name, then oid
  std::vector<Top> tops;                 // one per query, in the order of the queries
};

class Live {
 public:
  Live(LiveOptions options, const Clock* clock);
  ~Live();

  // -- feeding, by the engine ------------------------------------------------------------------
  // Loads the durable counts of one partition. Call it before the tasks start, for every partition
  // that exists, because completeness waits for all of them. `committed` and `watermark` say how
  // far the counts reach; `committed` is kNothingApplied where there are none. `total` is the
  // ledger of everything before `committed`. `segments`, in any order, are the part of it that is
  // still at hand: their rows give the panes and the ledger per location. A second call for a
  // partition adds its segments; its `committed` and `total` replace the first's.
  void Load(const SourcePartition& partition, std::span<const Segment> segments, Offset committed,
            const Ledger& total, Watermark watermark = kBeforeAllTime);
  // Announces a partition that will have counts: from here on, a window is complete only when this
  // partition has passed it, too. Does nothing if the partition is known.
  void Expect(const SourcePartition& partition);
  // The offset up to which the partition is applied; kNothingApplied before anything was.
  Offset Committed(const SourcePartition& partition) const;
  // Compare-and-set on the partition's offset: false if segments.front().first differs from it, or
  // if the segments are not contiguous. A partition without an offset takes its first segment
  // wherever that starts. When another writer comes in between two segments, the earlier ones stay
  // applied, and Committed() says so.
  bool Apply(const SourcePartition& partition, std::span<const Segment> segments);
  // Replaces the location table, of which live keeps names and time zones. Reads zoneinfo files, so
  // it is not for a thread that must not wait.
  void SetLocations(const std::vector<Location>& locations);

  // -- reading ---------------------------------------------------------------------------------
  Top TopItems(const Scope& scope, std::optional<LocationId> location, const WindowChoice& window,
               int32_t limit) const;
  // The locations of the scope that have ever counted or are in the location table, ordered by
  // name, then oid.
  std::vector<LocationTotal> Locations(const Scope& scope, const WindowChoice& window) const;
  // Unreadable records have no location ("unknown"): only Scope::All includes them.
  Ledger LedgerTotal(const Scope& scope) const;
  Watermark CompleteUntil() const;
  // Grows with every change that a reader can see, except those that the clock alone makes.
  uint64_t version() const;
  // Live calls `changed` after each change, on the engine's thread; it must only wake somebody.
  // Live keeps every callback for its whole life.
  void OnChange(std::function<void()> changed) const;
  int64_t memory_bytes() const;  // walks everything, so it is for /metrics only

  const LiveOptions& options() const;
  // When the newest applied change reached Live, by the clock; 0: none yet.
  int64_t changed_at_ms() const;
  // Live still knows everything from this time on; older windows must be read from the lake.
  EventTime oldest() const;
  int64_t items() const;  // distinct names in memory

  // Everything that a view shows, at one moment. `since` is the stamp of the reader's last Reading;
  // 0: there was none. Where `window` is followed, the answer lists only the locations that changed
  // after `since` - unless counts were loaded or a location disappeared meanwhile: then it lists
  // all.
  Reading Read(const Scope& scope, const WindowChoice& window, std::span<const TopQuery> queries,
               uint64_t since) const;
  // While a Followed lives, reading its window costs a pass over the items, not over the panes.
  class Followed {
   public:
    ~Followed();

   private:
    friend class Live;
    Followed(const Live* live, WindowChoice window) : live_(live), window_(window) {}
    const Live* const live_;
    const WindowChoice window_;
  };
  // nullptr if PaneStore::kFollowedMax windows are followed already, or if `window` has an end.
  // Live must outlive the result.
  std::unique_ptr<Followed> Follow(const WindowChoice& window) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
