#include "base/time_zone.h"

#include <date/tz.h>

#include <chrono>
#include <exception>

namespace sightline {

std::optional<TimeZone> TimeZone::Find(const std::string& name) {
  try {
    TimeZone zone;
    zone.zone_ = date::locate_zone(name);
    zone.StartOfDay(0);  // reads the zone's file now, while a damaged one can still be refused
    return zone;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

int64_t TimeZone::StartOfDay(int64_t time_ms) const {
  const date::sys_time<std::chrono::milliseconds> moment{std::chrono::milliseconds{time_ms}};
  if (zone_ == nullptr)
    return std::chrono::milliseconds(date::floor<date::days>(moment).time_since_epoch()).count();
  const auto day = date::floor<date::days>(zone_->to_local(moment));
  const auto start = zone_->to_sys(day, date::choose::earliest);
  return std::chrono::duration_cast<std::chrono::milliseconds>(start.time_since_epoch()).count();
}

int64_t TimeZone::MomentOf(int64_t local_ms) const {
  if (zone_ == nullptr) return local_ms;
  const std::chrono::milliseconds local{local_ms};
  const date::local_info info =
      zone_->get_info(date::local_seconds{date::floor<std::chrono::seconds>(local)});
  return local_ms - std::chrono::milliseconds(info.first.offset).count();
}

}  // namespace sightline
