// PaneStore: the panes of every location and of all together, and running sums of windows in use.
//
// Exact for any sliding window of panes that it still knows; what it knows is bounded by time:
// panes for pane_retention, steps of window_size up to kKept, nothing older. Old means older than
// both the clock and the newest pane, so that a clock that jumps ahead loses nothing.
// Not thread-safe: Live's mutex guards it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "live/item_names.h"
#include "live/pane_grid.h"
#include "live/pane_series.h"
#include "live/ranking.h"
#include "live/running_sum.h"
#include "live/time_zone.h"
#include "model/segment.h"
#include "model/types.h"
#include "model/window_choice.h"

namespace sightline {

class PaneStore {
 public:
  // The longest "today": a day on which the clocks go back. Also how far ahead of the clock a pane
  // may lie: sources without append times have no clock guard, and memory must stay bounded.
  static constexpr Millis kKept{25 * 3'600'000LL};
  static constexpr int32_t kFollowedMax = 16;  // each costs every addition some nanoseconds

  // Stands for a location; 0, 1, 2... in the order in which they became known.
  using Index = uint32_t;
  struct Total {
    int64_t total = 0;
    const std::string* first = nullptr;  // the item that ranks first; nullptr when total is 0
    uint64_t changed = 0;  // stamp of the last change; UINT64_MAX if that is not known
  };

  PaneStore(const PaneGrid& grid, Millis pane_retention);

  Index IndexOf(LocationId location);  // makes it known
  std::optional<Index> Find(LocationId location) const;
  Index size() const { return static_cast<Index>(locations_.size()); }
  LocationId location(Index index) const { return locations_[index]->id; }
  // Whether something of the location was ever counted, however old.
  bool counted(Index index) const { return locations_[index]->counted; }
  int64_t counted_locations() const { return counted_locations_; }
  void SetZone(Index index, TimeZone zone);

  void Add(std::span<const CountRow> rows, EventTime now);

  // Keeps running sums for `choice` (which has no `end`) until Unfollow(), so that reading it costs
  // no summing of panes. False when kFollowedMax are followed: reading works, but costs more.
  bool Follow(const WindowChoice& choice);
  void Unfollow(const WindowChoice& choice);

  // The window in which a location (none: all, in UTC) is now shown.
  Window WindowOf(const WindowChoice& choice, std::optional<Index> index, EventTime now) const;
  // Top items of one location, or of all. complete_until and location of the answer are set, too.
  Top TopOf(std::optional<Index> index, const WindowChoice& choice, int32_t limit, EventTime now,
            Watermark complete_until);
  // Top items of several locations together.
  Top TopOfSeveral(std::span<const Index> indices, const WindowChoice& choice, int32_t limit,
                   EventTime now, Watermark complete_until);
  Total TotalOf(Index index, const WindowChoice& choice, EventTime now);

  // Counts changes: of counts, and of windows that moved with the clock.
  uint64_t stamp() const { return stamp_; }
  uint64_t NextStamp() { return ++stamp_; }
  // From here on everything that was ever added is still known.
  EventTime oldest() const { return retention_.dropped_until; }
  int64_t items() const { return names_.size(); }
  int64_t memory_bytes() const;  // walks the blocks of all series

 private:
  struct Location {
    Location(LocationId location, const PaneGrid& grid, ItemNames* names)
        : id(location), series(grid, names) {}
    const LocationId id;
    TimeZone zone;
    bool counted = false;
    PaneSeries series;
  };
  struct Followed {
    WindowChoice choice;
    int64_t users = 0;
    EventTime moved_at = kBeforeAllTime;  // pane of `now` when the sums were moved last
    uint64_t zones = 0;                   // zones_ then
    RunningSum all;
    std::deque<RunningSum> locations;  // by Index; a deque keeps addresses
  };
  // A series and its running sums that hold the pane which is being added to.
  struct Target {
    PaneSeries* series = nullptr;
    std::vector<RunningSum*> sums;
    void Add(EventTime pane, ItemName* item, int64_t count, uint64_t stamp);
  };

  EventTime Align(EventTime time) const;
  // The first pane that is provisional, not before the window's start.
  EventTime FirstProvisional(const Window& window, Watermark complete_until) const;
  const PaneSeries& SeriesOf(std::optional<Index> index) const {
    return index ? locations_[*index]->series : all_;
  }
  void Retarget(Target& target, std::optional<Index> index, EventTime pane);
  Followed* AdvanceFollowed(const WindowChoice& choice, EventTime now);
  RunningSum& ValidSum(Followed& followed, std::optional<Index> index);
  // Counts of `index` in `window` by slot: in scratch_, or a running sum's.
  const std::vector<int64_t>& SumUp(const PaneSeries& series, const Window& window);
  void SetProvisional(const PaneSeries& series, Watermark complete_until,
                      std::span<const Candidate> first, Top& top);
  void AdvanceRetention(EventTime now);
  void MaintainSome();

  const PaneGrid grid_;
  const Millis pane_retention_;
  ItemNames names_;  // outlives the series
  PaneSeries all_;
  std::vector<std::unique_ptr<Location>> locations_;  // by Index
  std::unordered_map<LocationId, Index> index_of_;
  std::vector<std::unique_ptr<Followed>> followed_;
  int64_t counted_locations_ = 0;
  EventTime newest_ = kBeforeAllTime;  // end of the newest pane
  Retention retention_;
  Index next_to_maintain_ = 0;
  uint64_t stamp_ = 0;
  uint64_t zones_ = 1;  // grows with every change of a zone
  // Memory of calls, kept to save allocations.
  std::vector<int64_t> scratch_;
  std::vector<Candidate> candidates_;
  Target target_, all_target_;
};

}  // namespace sightline
