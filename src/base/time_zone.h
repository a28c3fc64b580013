// TimeZone: when a civil day begins, and which moment a local time means. The only user of the date
// library (GCC 12 has no tzdb).
//
// It reads the machine's zoneinfo files. They must list their transitions (zic -b fat, as Debian's
// do), because the library ignores the rule at a file's end. A value, safe on any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

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

  // Times are milliseconds since the Unix epoch. The first moment of the civil day that contains
  // `time_ms`; where a clock change skips midnight, that is the moment of the change.
  int64_t StartOfDay(int64_t time_ms) const;
  // The moment at which the zone's clocks show `local`, in milliseconds since 1970-01-01 00:00 of
  // local time. Of the two moments when clocks go back, the earlier one. A time that clocks skip is
  // read as if they had not been changed yet.
  int64_t MomentOf(int64_t local_ms) const;
  friend bool operator==(const TimeZone&, const TimeZone&) = default;

 private:
  const date::time_zone* zone_ = nullptr;  // lives as long as the process; nullptr: UTC
};

}  // namespace sightline
