// The nouns of docs/SEMANTICS.md as value types. They have no behaviour beyond arithmetic.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/strong.h"

namespace sightline {

using Offset = Strong<struct OffsetTag>;          // a position in a log: the next offset to read
using Epoch = Strong<struct EpochTag>;            // number of an entry in the checkpoint store
using EventTime = Strong<struct EventTimeTag>;    // ms since the Unix epoch by the camera's clock
using AppendTime = Strong<struct AppendTimeTag>;  // ms by the log's clock; never backwards
using CameraId = Strong<struct CameraIdTag>;
using LocationId = Strong<struct LocationIdTag>;
using DetectionId = Strong<struct DetectionIdTag>;
using Millis = Strong<struct MillisTag>;  // a length of time
using Day = Strong<struct DayTag>;        // UTC days since the Unix epoch
using Watermark = EventTime;

constexpr EventTime operator+(EventTime t, Millis d) { return {t.v + d.v}; }
constexpr EventTime operator-(EventTime t, Millis d) { return {t.v - d.v}; }
constexpr Millis operator-(EventTime a, EventTime b) { return {a.v - b.v}; }
constexpr Millis operator-(AppendTime a, AppendTime b) { return {a.v - b.v}; }
constexpr Millis operator+(Millis a, Millis b) { return {a.v + b.v}; }
// Only the clock guard and max_age compare the camera's clock with the log's clock.
constexpr EventTime ToEventTime(AppendTime t) { return {t.v}; }

constexpr EventTime kBeforeAllTime{INT64_MIN / 4};
constexpr EventTime kAfterAllTime{INT64_MAX / 4};
// The append time of sources that have none (files): the clock guard, max_age and camera_ttl are
// off.
constexpr AppendTime kNoAppendTime{INT64_MIN};
// The event times that are accepted: years 0001 to 9999.
constexpr EventTime kFirstEventTime{-62'135'596'800'000};
constexpr EventTime kLastEventTime{253'402'300'799'999};
constexpr size_t kItemNameBytesMax = 256;

// The identity of what is read, as defined in docs/SEMANTICS.md ("Source identity"). It is more
// than a topic's name.
struct SourcePartition {
  std::string source;
  int32_t partition = 0;
  friend auto operator<=>(const SourcePartition&, const SourcePartition&) = default;
};

// Half-open [start, end).
struct Window {
  EventTime start, end;
  friend auto operator<=>(const Window&, const Window&) = default;
};

// The start of the window of `size` that contains `t`. Rounds down, also before 1970.
constexpr EventTime WindowStart(EventTime t, Millis size) {
  const int64_t past = t.v % size.v;
  return {t.v - (past < 0 ? past + size.v : past)};
}

}  // namespace sightline
