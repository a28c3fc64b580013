// ReadBounds: limits that are known before a read runs and that it cannot exceed. They serve to
// skip files. A value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>

#include "model/types.h"

namespace sightline {

constexpr int64_t kDayMs = 86'400'000;
constexpr Day kFirstDay{-719'162};  // 0001-01-01
constexpr Day kDaysEnd{2'932'897};  // 10000-01-01, exclusive
constexpr EventTime kFirstAppend{kFirstDay.v * kDayMs};
constexpr EventTime kAppendEnd{kDaysEnd.v * kDayMs};
constexpr Day DayOf(EventTime t) { return {WindowStart(t, Millis{kDayMs}).v / kDayMs}; }

// The read wants no row outside the bounds, but perhaps not every row inside: they may be wider
// than necessary, but never narrower.
struct ReadBounds {
  std::optional<std::set<LocationId>> locations;  // none: any location
  Day first_day = kFirstDay, end_day = kDaysEnd;  // [first, end) of window_start
  // [first, end) of append_hour, in the ledger. With a bound, the read wants no row without an
  // append_hour.
  EventTime first_append = kFirstAppend, end_append = kAppendEnd;

  // To the intersection: both conditions hold.
  void Narrow(const ReadBounds& other) {
    first_day = std::max(first_day, other.first_day);
    end_day = std::min(end_day, other.end_day);
    first_append = std::max(first_append, other.first_append);
    end_append = std::min(end_append, other.end_append);
    if (!other.locations) return;
    if (!locations) {
      locations = other.locations;
      return;
    }
    std::erase_if(*locations, [&](LocationId id) { return !other.locations->contains(id); });
  }
  // To cover both: at least one of the conditions holds.
  void Widen(const ReadBounds& other) {
    first_day = std::min(first_day, other.first_day);
    end_day = std::max(end_day, other.end_day);
    first_append = std::min(first_append, other.first_append);
    end_append = std::max(end_append, other.end_append);
    if (!locations || !other.locations) {
      locations.reset();
      return;
    }
    locations->insert(other.locations->begin(), other.locations->end());
  }
  friend bool operator==(const ReadBounds&, const ReadBounds&) = default;
};

}  // namespace sightline
