#include "live/pane_store.h"

#include <algorithm>

#include "base/check.h"

namespace sightline {
namespace {

// Late events rarely reach further back, so older blocks are packed: a packed block must be
// unpacked before it can take an addition.
constexpr Millis kPackAfter{3'600'000};
// Each addition also maintains this many other series, in turn. That spreads the work evenly, and
// it reaches locations that receive nothing any more.
constexpr int kMaintainedPerAdd = 2;

EventTime Clamp(EventTime time) { return std::clamp(time, kFirstEventTime, kLastEventTime); }

}  // namespace

PaneStore::PaneStore(const PaneGrid& grid, Millis pane_retention)
    : grid_(grid), pane_retention_(pane_retention), all_(grid, &names_) {}

PaneStore::Index PaneStore::IndexOf(LocationId location) {
  const auto [it, is_new] = index_of_.try_emplace(location, size());
  if (is_new) {
    locations_.push_back(std::make_unique<Location>(location, grid_, &names_));
    for (const auto& followed : followed_) followed->locations.resize(locations_.size());
    ++zones_;  // makes AdvanceFollowed() give the new running sums their window
  }
  return it->second;
}

std::optional<PaneStore::Index> PaneStore::Find(LocationId location) const {
  const auto it = index_of_.find(location);
  if (it == index_of_.end()) return std::nullopt;
  return it->second;
}

void PaneStore::SetZone(Index index, TimeZone zone) {
  if (locations_[index]->zone == zone) return;
  locations_[index]->zone = zone;
  ++zones_;
}

// -- adding --------------------------------------------------------------------------------------

void PaneStore::Target::Add(EventTime pane, ItemName* item, int64_t count, uint64_t stamp) {
  const Slot slot = series->SlotOf(item);
  series->Add(pane, slot, count);
  for (RunningSum* sum : sums) sum->Add(slot, count, stamp);
}

// Rows of one location and pane come one after the other, so the running sums that they touch are
// looked up once for all of them.
void PaneStore::Retarget(Target& target, std::optional<Index> index, EventTime pane) {
  target.series = index ? &locations_[*index]->series : &all_;
  target.sums.clear();
  for (const auto& followed : followed_) {
    RunningSum& sum = index ? followed->locations[*index] : followed->all;
    // An invalid sum is left out: ValidSum() makes it anew from the panes before it is read.
    if (sum.is_valid(*target.series) && sum.Contains(pane)) target.sums.push_back(&sum);
  }
}

void PaneStore::Add(std::span<const CountRow> rows, EventTime now) {
  const uint64_t stamp = NextStamp();
  std::optional<Index> index;
  // The panes at which the targets point; kAfterAllTime: at none.
  EventTime pane = kAfterAllTime, all_pane = kAfterAllTime;
  for (const CountRow& row : rows) {
    CHECK(row.count >= 0);  // segments only ever add
    const bool same_location = index && locations_[*index]->id == row.key.location;
    if (!same_location) {
      index = IndexOf(row.key.location);
      Location& location = *locations_[*index];
      if (!location.counted) ++counted_locations_;
      location.counted = true;
      PaneSeries& series = location.series;
      // MaintainSome() normally keeps up. Where there are too many locations for it, a series is
      // maintained before it grows; the slack of two blocks keeps that rare.
      if (series.IsBehind(retention_, grid_.block + grid_.block)) series.Maintain(retention_);
    }
    const EventTime start = WindowStart(row.key.pane_start, grid_.pane);
    if (row.count == 0 || start < retention_.dropped_until || start >= now + kKept) {
      if (!same_location) pane = kAfterAllTime;  // target_ still points at the location before
      continue;
    }
    if (!same_location || pane != start) Retarget(target_, index, start);
    if (all_pane != start) Retarget(all_target_, std::nullopt, start);
    pane = all_pane = start;
    newest_ = std::max(newest_, start + grid_.pane);
    ItemName* const item = names_.Intern(row.key.item);
    target_.Add(start, item, row.count, stamp);
    all_target_.Add(start, item, row.count, stamp);
  }
  AdvanceRetention(now);
  MaintainSome();
}

void PaneStore::AdvanceRetention(EventTime now) {
  // The earlier one: a clock that jumps ahead must not drop anything, nor must one event from the
  // future.
  const EventTime reference = std::min(now, newest_);
  const auto grow = [&](EventTime& until, Millis age) {
    until = std::max(until, WindowStart(reference - age, grid_.block));
  };
  grow(retention_.dropped_until, std::max(kKept, pane_retention_));
  grow(retention_.downsampled_until, pane_retention_);
  grow(retention_.packed_until, std::min(kPackAfter, pane_retention_));
}

void PaneStore::MaintainSome() {
  if (all_.IsBehind(retention_, {0})) all_.Maintain(retention_);
  for (int i = 0; i < kMaintainedPerAdd && !locations_.empty(); ++i) {
    next_to_maintain_ = (next_to_maintain_ + 1) % size();
    PaneSeries& series = locations_[next_to_maintain_]->series;
    if (series.IsBehind(retention_, {0})) series.Maintain(retention_);
  }
}

// -- windows -------------------------------------------------------------------------------------

EventTime PaneStore::Align(EventTime time) const {
  return WindowStart(time, time < retention_.downsampled_until ? grid_.window : grid_.pane);
}

Window PaneStore::WindowOf(const WindowChoice& choice, std::optional<Index> index,
                           EventTime now) const {
  const EventTime end =
      choice.end ? Align(Clamp(*choice.end)) : WindowStart(Clamp(now), grid_.pane) + grid_.pane;
  if (!choice.today) {
    const Millis length{std::clamp(choice.length.v, grid_.pane.v, kKept.v)};
    return {Align(end - length), end};
  }
  const TimeZone zone = index ? locations_[*index]->zone : TimeZone{};
  // The end is exclusive: a window that ends at midnight belongs to the day before.
  const EventTime last = choice.end ? end - Millis{1} : Clamp(now);
  return {Align({zone.StartOfDay(last.v)}), end};
}

EventTime PaneStore::FirstProvisional(const Window& window, Watermark complete_until) const {
  if (complete_until <= window.start) return window.start;
  return std::min(Align(complete_until), window.end);
}

bool PaneStore::Follow(const WindowChoice& choice) {
  CHECK(!choice.end);
  for (const auto& followed : followed_) {
    if (followed->choice != choice) continue;
    ++followed->users;
    return true;
  }
  if (followed_.size() == kFollowedMax) return false;
  auto followed = std::make_unique<Followed>();
  followed->choice = choice;
  followed->users = 1;
  followed->locations.resize(locations_.size());
  followed_.push_back(std::move(followed));
  return true;
}

void PaneStore::Unfollow(const WindowChoice& choice) {
  const auto it = std::find_if(followed_.begin(), followed_.end(),
                               [&](const auto& followed) { return followed->choice == choice; });
  CHECK(it != followed_.end());
  if (--(*it)->users == 0) followed_.erase(it);
}

// The followed window of `choice` with its sums moved to `now`; nullptr if nobody follows it. The
// sums move only when the clock enters another pane, a time zone changes or a location is added.
PaneStore::Followed* PaneStore::AdvanceFollowed(const WindowChoice& choice, EventTime now) {
  const auto it = std::find_if(followed_.begin(), followed_.end(),
                               [&](const auto& followed) { return followed->choice == choice; });
  if (it == followed_.end()) return nullptr;
  Followed& followed = **it;
  const EventTime pane = WindowStart(now, grid_.pane);
  if (followed.moved_at == pane && followed.zones == zones_) return &followed;
  followed.moved_at = pane;
  followed.zones = zones_;
  const uint64_t stamp = NextStamp();
  followed.all.MoveTo(all_, WindowOf(choice, std::nullopt, now), stamp);
  const Window window = WindowOf(choice, std::nullopt, now);
  for (Index index = 0; index < size(); ++index) {
    followed.locations[index].MoveTo(locations_[index]->series,
                                     choice.today ? WindowOf(choice, index, now) : window, stamp);
  }
  return &followed;
}

RunningSum& PaneStore::ValidSum(Followed& followed, std::optional<Index> index) {
  RunningSum& sum = index ? followed.locations[*index] : followed.all;
  const PaneSeries& series = SeriesOf(index);
  // Panes at the start may have been downsampled meanwhile: then only a multiple of the window can
  // be a bound.
  const EventTime start = Align(sum.window().start);
  if (!sum.is_valid(series) || start != sum.window().start)
    sum.MoveTo(series, {start, sum.window().end}, NextStamp());
  return sum;
}

// -- reading -------------------------------------------------------------------------------------

const std::vector<int64_t>& PaneStore::SumUp(const PaneSeries& series, const Window& window) {
  scratch_.assign(series.slots(), 0);
  series.AddTo(window, 1, scratch_);
  return scratch_;
}

void PaneStore::SetProvisional(const PaneSeries& series, Watermark complete_until,
                               std::span<const Candidate> first, Top& top) {
  const EventTime from = FirstProvisional(top.window, complete_until);
  // The two frequent cases need no second sum: everything is provisional, or nothing is.
  if (from == top.window.start) {
    for (TopRow& row : top.rows) row.provisional = row.count;
    return;
  }
  if (from == top.window.end) return;
  const std::vector<int64_t>& open = SumUp(series, {from, top.window.end});
  for (size_t i = 0; i < top.rows.size(); ++i) top.rows[i].provisional = open[first[i].tag];
}

Top PaneStore::TopOf(std::optional<Index> index, const WindowChoice& choice, int32_t limit,
                     EventTime now, Watermark complete_until) {
  const PaneSeries& series = SeriesOf(index);
  Top top;
  if (index) top.location = location(*index);
  top.complete_until = complete_until;
  const std::vector<int64_t>* counts = nullptr;
  if (Followed* const followed = AdvanceFollowed(choice, now)) {
    const RunningSum& sum = ValidSum(*followed, index);
    top.window = sum.window();
    counts = &sum.counts();
  } else {
    top.window = WindowOf(choice, index, now);
    counts = &SumUp(series, top.window);
  }
  candidates_.clear();
  for (Slot slot = 0; slot < counts->size(); ++slot) {
    if ((*counts)[slot] != 0) candidates_.push_back({&series.name(slot), (*counts)[slot], slot});
  }
  RankTop(candidates_, limit, top);
  SetProvisional(series, complete_until, candidates_, top);
  return top;
}

Top PaneStore::TopOfSeveral(std::span<const Index> indices, const WindowChoice& choice,
                            int32_t limit, EventTime now, Watermark complete_until) {
  Top top;
  top.complete_until = complete_until;
  top.window = WindowOf(choice, std::nullopt, now);
  const Window open{FirstProvisional(top.window, complete_until), top.window.end};
  // "Today" of several locations is the UTC day, but their running sums are of their own days.
  Followed* const followed = choice.today ? nullptr : AdvanceFollowed(choice, now);
  // By item id: each series numbers its slots for itself, so slots cannot be added up.
  std::vector<int64_t> counts(names_.ids()), provisional(names_.ids());
  std::vector<const ItemName*> items;
  for (Index index : indices) {
    const PaneSeries& series = locations_[index]->series;
    const auto& sums =
        followed != nullptr ? ValidSum(*followed, index).counts() : SumUp(series, top.window);
    for (Slot slot = 0; slot < sums.size(); ++slot) {
      if (sums[slot] == 0) continue;
      const ItemName* const item = series.item(slot);
      if (counts[item->id] == 0) items.push_back(item);
      counts[item->id] += sums[slot];
    }
    const auto& open_sums = SumUp(series, open);
    for (Slot slot = 0; slot < open_sums.size(); ++slot) {
      if (open_sums[slot] != 0) provisional[series.item(slot)->id] += open_sums[slot];
    }
  }
  candidates_.clear();
  for (const ItemName* item : items)
    candidates_.push_back({&item->text, counts[item->id], item->id});
  RankTop(candidates_, limit, top);
  for (size_t i = 0; i < top.rows.size(); ++i)
    top.rows[i].provisional = provisional[candidates_[i].tag];
  return top;
}

PaneStore::Total PaneStore::TotalOf(Index index, const WindowChoice& choice, EventTime now) {
  const PaneSeries& series = locations_[index]->series;
  if (Followed* const followed = AdvanceFollowed(choice, now)) {
    RunningSum& sum = ValidSum(*followed, index);
    const std::optional<Slot> first = sum.First(series);
    return {sum.total(), first ? &series.name(*first) : nullptr, sum.changed()};
  }
  scratch_.assign(series.slots(), 0);
  const int64_t total = series.AddTo(WindowOf(choice, index, now), 1, scratch_);
  const std::optional<Slot> first = FirstOf(series, scratch_);
  // Nobody follows this window, so when it last changed is unknown: the reader must take it as new.
  return {total, first ? &series.name(*first) : nullptr, UINT64_MAX};
}

int64_t PaneStore::memory_bytes() const {
  // The constants stand for the nodes and allocations that sizeof does not show.
  int64_t bytes = names_.memory_bytes() + all_.memory_bytes();
  for (const auto& location : locations_)
    bytes += static_cast<int64_t>(sizeof(Location)) + 64 + location->series.memory_bytes();
  for (const auto& followed : followed_) {
    bytes += followed->all.memory_bytes();
    for (const RunningSum& sum : followed->locations)
      bytes += static_cast<int64_t>(sizeof sum) + sum.memory_bytes();
  }
  return bytes;
}

}  // namespace sightline
