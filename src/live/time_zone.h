// TimeZone: says when a civil day begins. The only user of the date library (GCC 12 has no tzdb).
//
// It reads the machine's zoneinfo files. They must list their transitions (zic -b fat, as Debian's
// do), because the library ignores the rule at a file's end. A value, safe on any thread.
#pragma once

#include <optional>
#include <string>

#include "model/types.h"

namespace date {
class time_zone;
}

namespace sightline {

class TimeZone {
 public:
  TimeZone() = default;  // UTC
  // By IANA name ("Europe/Berlin"). None: the name is unknown, or this machine has no zoneinfo.
  // Reads files.
  static std::optional<TimeZone> Find(const std::string& name);

  // The first moment of the civil day that contains `time`. Where a clock change skips midnight,
  // that is the moment of the change.
  EventTime StartOfDay(EventTime time) const;
  friend bool operator==(const TimeZone&, const TimeZone&) = default;

 private:
  const date::time_zone* zone_ = nullptr;  // lives as long as the process; nullptr: UTC
};

}  // namespace sightline
