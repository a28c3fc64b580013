// TimeZone: where a civil day begins. The only home of the date library (GCC 12 has no tzdb).
//
// Reads the machine's zoneinfo files, which must list their transitions (zic -b fat, as Debian's
// do): the library ignores the rule at a file's end. A value; safe to use from any thread.
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
  // By IANA name ("Europe/Berlin"). None: unknown, or this machine has no zoneinfo. Reads files.
  static std::optional<TimeZone> Find(const std::string& name);

  // The first moment of the civil day that holds `time`; where a clock change skips midnight, the
  // moment of the change.
  EventTime StartOfDay(EventTime time) const;
  friend bool operator==(const TimeZone&, const TimeZone&) = default;

 private:
  const date::time_zone* zone_ = nullptr;  // lives as long as the process; nullptr: UTC
};

}  // namespace sightline
