#include "live/live.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/time_zone.h"
#include "live/pane_store.h"

namespace sightline {

struct Live::State {
  State(const LiveOptions& options, const Clock* clock)
      : options(options),
        clock(clock),
        panes(PaneGrid(options.pane_size, options.window_size), options.pane_retention),
        completeness(options.idle_timeout, options.out_of_orderness, options.log_end) {}

  // What Live knows about a location besides its panes.
  struct Facts {
    std::string name;
    bool in_table = false;  // the location table has it
    bool listed = false;    // `order` has it
    Ledger ledger;
    uint64_t changed = 0;  // stamp of the last change of name, in_table or listed
  };
  struct Partition {
    Offset committed = kNothingApplied;
    Ledger total;
  };

  EventTime Now() const { return {clock->NowMs()}; }
  Facts& FactsOf(LocationId location);
  void AddSegment(const Segment& segment, EventTime now);
  void Relist();
  std::vector<PaneStore::Index> Visible(const Scope& scope);
  Ledger LedgerOf(const Scope& scope) const;
  Top TopFor(const Scope& scope, std::optional<LocationId> location, const WindowChoice& window,
             int32_t limit, EventTime now);
  std::vector<LocationTotal> TotalsFor(const Scope& scope, const WindowChoice& window,
                                       EventTime now, uint64_t since);
  void Changed();

  const LiveOptions options;
  const Clock* const clock;

  std::mutex mutex;  // guards what follows
  PaneStore panes;
  Completeness completeness;
  std::map<SourcePartition, Partition> partitions;
  std::vector<Facts> facts;             // by PaneStore::Index
  std::vector<PaneStore::Index> order;  // of the listed locations: by name, then oid
  int64_t counted_in_order = 0;         // panes.counted_locations() when `order` was made
  bool order_is_stale = false;
  // Stamp of the last Load(), or of the last time that a location left the list. A reader with an
  // older stamp must read everything: a list of changed locations cannot express either.
  uint64_t everything_stamp = 0;
  int64_t changed_at_ms = 0;

  std::atomic<uint64_t> version{0};
  std::mutex callbacks_mutex;  // guards callbacks; never taken together with `mutex`
  std::vector<std::function<void()>> callbacks;
};

Live::Live(LiveOptions options, const Clock* clock)
    : state_(std::make_unique<State>(options, clock)) {}
Live::~Live() = default;

// -- feeding -------------------------------------------------------------------------------------

Live::State::Facts& Live::State::FactsOf(LocationId location) {
  const PaneStore::Index index = panes.IndexOf(location);
  if (index >= facts.size()) facts.resize(panes.size());
  return facts[index];
}

void Live::State::AddSegment(const Segment& segment, EventTime now) {
  panes.Add(segment.counts, now);
  facts.resize(panes.size());
  for (const LedgerRow& row : segment.ledger) {
    if (row.key.known) FactsOf(row.key.location).ledger.Add(row.ledger);
  }
  if (panes.counted_locations() != counted_in_order) order_is_stale = true;
}

// Must be called without `mutex`, because callbacks take mutexes of their own.
void Live::State::Changed() {
  version.fetch_add(1);
  const std::lock_guard lock(callbacks_mutex);
  for (const auto& callback : callbacks) callback();
}

void Live::Load(const SourcePartition& partition, std::span<const Segment> segments,
                Offset committed, const Ledger& total, Watermark watermark) {
  const EventTime now = state_->Now();
  // The mutex is released between segments, so that readers need not wait for a long history.
  for (const Segment& segment : segments) {
    const std::lock_guard lock(state_->mutex);
    state_->AddSegment(segment, now);
    watermark = std::max(watermark, segment.watermark);
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->completeness.OnCounted(partition, committed, watermark);
    State::Partition& known = state_->partitions[partition];
    known.committed = committed;
    known.total = total;
    state_->changed_at_ms = now.v;
    state_->everything_stamp = state_->panes.NextStamp();
  }
  state_->Changed();
}

void Live::Expect(const SourcePartition& partition) {
  const std::lock_guard lock(state_->mutex);
  if (!state_->partitions.try_emplace(partition).second) return;
  state_->partitions[partition].committed = kNothingApplied;
  // With this watermark the partition holds completeness back until it has one of its own or is
  // idle.
  state_->completeness.OnCounted(partition, kNothingApplied, kBeforeAllTime);
}

Offset Live::Committed(const SourcePartition& partition) const {
  const std::lock_guard lock(state_->mutex);
  const auto it = state_->partitions.find(partition);
  return it == state_->partitions.end() ? kNothingApplied : it->second.committed;
}

bool Live::Apply(const SourcePartition& partition, std::span<const Segment> segments) {
  for (size_t i = 1; i < segments.size(); ++i) {
    if (segments[i].first != segments[i - 1].next) return false;
  }
  const EventTime now = state_->Now();
  size_t applied = 0;
  // The mutex is taken per segment, so the offset is compared for each one: another writer may come
  // in between two of them.
  for (const Segment& segment : segments) {
    const std::lock_guard lock(state_->mutex);
    State::Partition& known = state_->partitions[partition];
    if (known.committed != kNothingApplied && known.committed != segment.first) break;
    state_->AddSegment(segment, now);
    state_->completeness.OnCounted(partition, segment.next, segment.watermark);
    known.total.Add(segment.Total());
    known.committed = segment.next;
    state_->changed_at_ms = now.v;
    ++applied;
  }
  if (applied > 0) state_->Changed();
  return applied == segments.size();
}

void Live::SetLocations(const std::vector<Location>& locations) {
  // Reading zoneinfo files may take long, so it is done before the mutex is taken.
  std::map<std::string, TimeZone> zones;
  for (const Location& location : locations) {
    if (location.time_zone.empty() || zones.contains(location.time_zone)) continue;
    const auto zone = TimeZone::Find(location.time_zone);
    if (!zone) {
      LogWarning(fmt::format(
          "time zone \"{}\" of location {} is unknown on this machine, so \"today\" is the UTC day "
          "there: correct the location table or install tzdata",
          location.time_zone, location.location.v));
    }
    zones.emplace(location.time_zone, zone.value_or(TimeZone{}));
  }
  {
    const std::lock_guard lock(state_->mutex);
    const uint64_t stamp = state_->panes.NextStamp();
    std::unordered_map<LocationId, const Location*> table;
    for (const Location& location : locations) {
      state_->FactsOf(location.location);
      table[location.location] = &location;
    }
    for (PaneStore::Index index = 0; index < state_->facts.size(); ++index) {
      State::Facts& facts = state_->facts[index];
      const auto it = table.find(state_->panes.location(index));
      const bool in_table = it != table.end();
      const std::string name = in_table ? it->second->name : "";
      const auto zone = in_table ? zones.find(it->second->time_zone) : zones.end();
      state_->panes.SetZone(index, zone == zones.end() ? TimeZone{} : zone->second);
      if (in_table == facts.in_table && name == facts.name) continue;
      // Neither in the table nor counted: the location leaves the list.
      if (!in_table && !state_->panes.counted(index)) state_->everything_stamp = stamp;
      facts.in_table = in_table;
      facts.name = name;
      facts.changed = stamp;
      state_->order_is_stale = true;
    }
  }
  state_->Changed();
}

// -- reading -------------------------------------------------------------------------------------

// Sorts the listed locations again if one was added or removed, or a name has changed. Sorting is
// left to the first read after the change, so that a burst of new locations sorts once.
void Live::State::Relist() {
  if (!order_is_stale) return;
  order_is_stale = false;
  counted_in_order = panes.counted_locations();
  const uint64_t stamp = panes.NextStamp();
  order.clear();
  for (PaneStore::Index index = 0; index < facts.size(); ++index) {
    const bool listed = facts[index].in_table || panes.counted(index);
    if (listed && !facts[index].listed) facts[index].changed = stamp;
    facts[index].listed = listed;
    if (listed) order.push_back(index);
  }
  std::sort(order.begin(), order.end(), [this](PaneStore::Index a, PaneStore::Index b) {
    if (const int names = facts[a].name.compare(facts[b].name); names != 0) return names < 0;
    return panes.location(a) < panes.location(b);
  });
}

std::vector<PaneStore::Index> Live::State::Visible(const Scope& scope) {
  Relist();
  if (!scope.locations) return order;
  std::vector<PaneStore::Index> visible;
  std::copy_if(order.begin(), order.end(), std::back_inserter(visible),
               [&](PaneStore::Index index) { return scope.Sees(panes.location(index)); });
  return visible;
}

Ledger Live::State::LedgerOf(const Scope& scope) const {
  Ledger ledger;
  // Not the sum over locations: only the partitions' totals include unreadable records.
  if (!scope.locations) {
    for (const auto& [name, partition] : partitions) ledger.Add(partition.total);
    return ledger;
  }
  for (LocationId location : *scope.locations) {
    const auto index = panes.Find(location);
    if (index && *index < facts.size()) ledger.Add(facts[*index].ledger);
  }
  return ledger;
}

Top Live::State::TopFor(const Scope& scope, std::optional<LocationId> location,
                        const WindowChoice& window, int32_t limit, EventTime now) {
  const Watermark complete_until = completeness.CompleteUntil(now);
  // PaneStore keeps a series of all locations together; a smaller scope must be added up.
  if (!location && !scope.locations)
    return panes.TopOf(std::nullopt, window, limit, now, complete_until);
  if (!location) return panes.TopOfSeveral(Visible(scope), window, limit, now, complete_until);
  const auto index = panes.Find(*location);
  if (index && scope.Sees(*location)) return panes.TopOf(index, window, limit, now, complete_until);
  // A location that does not exist and one that the scope hides must look the same.
  Top nothing;
  nothing.location = location;
  nothing.window = panes.WindowOf(window, std::nullopt, now);
  nothing.complete_until = complete_until;
  return nothing;
}

// `since` 0: all locations. Otherwise only those whose total, name or listing may have changed
// after that stamp.
std::vector<LocationTotal> Live::State::TotalsFor(const Scope& scope, const WindowChoice& window,
                                                  EventTime now, uint64_t since) {
  std::vector<LocationTotal> totals;
  for (PaneStore::Index index : Visible(scope)) {
    const PaneStore::Total total = panes.TotalOf(index, window, now);
    if (since != 0 && total.changed <= since && facts[index].changed <= since) continue;
    totals.push_back({.location = panes.location(index),
                      .name = facts[index].name,
                      .total = total.total,
                      .top_item = total.first == nullptr ? "" : *total.first});
  }
  return totals;
}

Top Live::TopItems(const Scope& scope, std::optional<LocationId> location,
                   const WindowChoice& window, int32_t limit) const {
  const std::lock_guard lock(state_->mutex);
  return state_->TopFor(scope, location, window, limit, state_->Now());
}

std::vector<LocationTotal> Live::Locations(const Scope& scope, const WindowChoice& window) const {
  const std::lock_guard lock(state_->mutex);
  return state_->TotalsFor(scope, window, state_->Now(), 0);
}

Ledger Live::LedgerTotal(const Scope& scope) const {
  const std::lock_guard lock(state_->mutex);
  return state_->LedgerOf(scope);
}

Watermark Live::CompleteUntil() const {
  const std::lock_guard lock(state_->mutex);
  return state_->completeness.CompleteUntil(state_->Now());
}

Reading Live::Read(const Scope& scope, const WindowChoice& window,
                   std::span<const TopQuery> queries, uint64_t since) const {
  const std::lock_guard lock(state_->mutex);
  const EventTime now = state_->Now();
  if (since < state_->everything_stamp) since = 0;
  Reading reading;
  reading.everything = since == 0;
  reading.locations = state_->TotalsFor(scope, window, now, since);
  for (const TopQuery& query : queries) {
    reading.tops.push_back(state_->TopFor(scope, query.location, window, query.limit, now));
  }
  reading.now_ms = now.v;
  reading.changed_at_ms = state_->changed_at_ms;
  reading.complete_until = state_->completeness.CompleteUntil(now);
  reading.ledger = state_->LedgerOf(scope);
  // Taken under the same lock, last: every later change gets a higher stamp.
  reading.stamp = state_->panes.NextStamp();
  return reading;
}

uint64_t Live::version() const { return state_->version.load(); }

void Live::OnChange(std::function<void()> changed) const {
  const std::lock_guard lock(state_->callbacks_mutex);
  state_->callbacks.push_back(std::move(changed));
}

int64_t Live::memory_bytes() const {
  const std::lock_guard lock(state_->mutex);
  int64_t bytes = state_->panes.memory_bytes();
  for (const State::Facts& facts : state_->facts)
    bytes += static_cast<int64_t>(sizeof facts + facts.name.capacity());
  return bytes;
}

const LiveOptions& Live::options() const { return state_->options; }

int64_t Live::changed_at_ms() const {
  const std::lock_guard lock(state_->mutex);
  return state_->changed_at_ms;
}

EventTime Live::oldest() const {
  const std::lock_guard lock(state_->mutex);
  return state_->panes.oldest();
}

int64_t Live::items() const {
  const std::lock_guard lock(state_->mutex);
  return state_->panes.items();
}

std::unique_ptr<Live::Followed> Live::Follow(const WindowChoice& window) const {
  if (window.end) return nullptr;
  const std::lock_guard lock(state_->mutex);
  if (!state_->panes.Follow(window)) return nullptr;
  return std::unique_ptr<Followed>(new Followed(this, window));
}

Live::Followed::~Followed() {
  const std::lock_guard lock(live_->state_->mutex);
  live_->state_->panes.Unfollow(window_);
}

}  // namespace sightline
