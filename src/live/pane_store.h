// PaneStore: the panes of each location and of all together, and running sums of followed windows.
//
// Answers are exact for any sliding window of panes that the store still has. Time bounds what it
// has: panes for pane_retention, sums per window_size up to kKept, nothing older. Age is measured
// from the clock or from the newest pane, whichever is earlier, so that a clock that jumps ahead
// loses nothing. Not thread-safe: Live's mutex guards it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/time_zone.h"
#include "live/item_names.h"
#include "live/pane_grid.h"
#include "live/pane_series.h"
#include "live/ranking.h"
#include "live/running_sum.h"
#include "model/segment.h"
#include "model/types.h"
#include "model/window_choice.h"

namespace sightline {

class PaneStore {
 public:
  // The longest "today" is a day on which the clocks go back. The same value limits how far ahead
  // of the clock a pane may lie: sources without append times have no clock guard, and memory must
  // stay bounded.
  static constexpr Millis kKept{25 * 3'600'000LL};
  static constexpr int32_t kFollowedMax = 16;  // each costs every addition some nanoseconds

  // Stands for a location: 0, 1, 2... in the order in which the store met them.
  using Index = uint32_t;
  struct Total {
    int64_t total = 0;
    const std::string* first = nullptr;  // the item that ranks first; nullptr when total is 0
    uint64_t changed = 0;                // stamp of the last change; UINT64_MAX: unknown
  };

  PaneStore(const PaneGrid& grid, Millis pane_retention);

  Index IndexOf(LocationId location);  // adds the location if it is new
  std::optional<Index> Find(LocationId location) const;
  Index size() const { return static_cast<Index>(locations_.size()); }
  LocationId location(Index index) const { return locations_[index]->id; }
  // Whether the location has ever had a count, however old.
  bool counted(Index index) const { return locations_[index]->counted; }
  int64_t counted_locations() const { return counted_locations_; }
  void SetZone(Index index, TimeZone zone);

  void Add(std::span<const CountRow> rows, EventTime now);

  // Keeps running sums for `choice`, which has no `end`, until Unfollow(), so that a read need not
  // sum panes. False when kFollowedMax windows are followed: reads still work, but cost more.
  bool Follow(const WindowChoice& choice);
  void Unfollow(const WindowChoice& choice);

  // The window that `choice` means now for a location; none: for all together, in UTC.
  Window WindowOf(const WindowChoice& choice, std::optional<Index> index, EventTime now) const;
  // Top items of one location, or of all. Also sets complete_until and location of the answer.
  Top TopOf(std::optional<Index> index, const WindowChoice& choice, int32_t limit, EventTime now,
            Watermark complete_until);
  // Top items of several locations together.
  Top TopOfSeveral(std::span<const Index> indices, const WindowChoice& choice, int32_t limit,
                   EventTime now, Watermark complete_until);
  Total TotalOf(Index index, const WindowChoice& choice, EventTime now);

  // Numbers the changes: those of counts, and those of windows that moved with the clock.
  uint64_t stamp() const { return stamp_; }
  uint64_t NextStamp() { return ++stamp_; }
  // The store still has everything from this time on.
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
    EventTime moved_at = kBeforeAllTime;  // the current pane when the sums last moved
    uint64_t zones = 0;                   // zones_ at that moment
    RunningSum all;
    std::deque<RunningSum> locations;  // by Index; a deque keeps addresses
  };
  // Where an addition goes: a series, and those of its running sums whose window has the pane.
  struct Target {
    PaneSeries* series = nullptr;
    std::vector<RunningSum*> sums;
    void Add(EventTime pane, ItemName* item, int64_t count, uint64_t stamp);
  };

  EventTime Align(EventTime time) const;
  // The start of the first provisional pane in the window; the window's end when there is none.
  EventTime FirstProvisional(const Window& window, Watermark complete_until) const;
  const PaneSeries& SeriesOf(std::optional<Index> index) const {
    return index ? locations_[*index]->series : all_;
  }
  void Retarget(Target& target, std::optional<Index> index, EventTime pane);
  Followed* AdvanceFollowed(const WindowChoice& choice, EventTime now);
  RunningSum& ValidSum(Followed& followed, std::optional<Index> index);
  // The counts of `series` in `window`, by slot; in scratch_, valid until its next use.
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
  uint64_t zones_ = 1;  // grows with every new location or change of a time zone
  // Scratch space of single calls, kept to save allocations.
  std::vector<int64_t> scratch_;
  std::vector<Candidate> candidates_;
  Target target_, all_target_;
};

}  // namespace sightline
