// How the doctor writes lengths of time and lists. Pure.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/types.h"

namespace sightline {

inline constexpr Millis kSecond{1'000}, kMinute{60'000}, kHour{3'600'000}, kDay{86'400'000};

// As options take it, and exact: "90m". From ten seconds on, milliseconds are dropped.
inline std::string DurationText(Millis length) {
  int64_t ms = std::abs(length.v);
  if (ms >= 10 * kSecond.v) ms -= ms % kSecond.v;
  if (ms == 0) return "0s";
  for (const auto& [unit, name] :
       {std::pair(kDay, "d"), {kHour, "h"}, {kMinute, "m"}, {kSecond, "s"}})
    if (ms % unit.v == 0) return fmt::format("{}{}", ms / unit.v, name);
  return fmt::format("{}ms", ms);
}

// The next round length: whole seconds, minutes, hours or days.
inline Millis RoundedUp(Millis length) {
  const Millis unit = length <= kMinute              ? kSecond
                      : length <= kHour              ? kMinute
                      : length <= Millis{2 * kDay.v} ? kHour
                                                     : kDay;
  return {(length.v + unit.v - 1) / unit.v * unit.v};
}

// The first `most` of them, and how many more there are.
inline std::string ListText(const std::vector<std::string>& names, size_t most = 10) {
  std::string text = fmt::format(
      "{}", fmt::join(names.begin(), names.begin() + std::min(most, names.size()), ", "));
  if (names.size() > most) text += fmt::format(" and {} more", names.size() - most);
  return text;
}

}  // namespace sightline
