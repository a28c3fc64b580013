// How the doctor writes lengths of time, lists, and what others wrote. Pure.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "model/types.h"

namespace sightline {

inline constexpr Millis kSecond{1'000}, kMinute{60'000}, kHour{3'600'000}, kDay{86'400'000};

// As options take it, and exact: "90m".
inline std::string DurationText(Millis length) {
  for (const auto& [unit, name] :
       {std::pair(kDay, "d"), {kHour, "h"}, {kMinute, "m"}, {kSecond, "s"}})
    if (length.v % unit.v == 0) return fmt::format("{}{}", length.v / unit.v, name);
  return fmt::format("{}ms", length.v);
}

// For people, to a tenth, and without a sign: "1.5h".
inline std::string AboutText(Millis length) {
  const int64_t ms = std::abs(length.v);
  for (const auto& [unit, name] :
       {std::pair(kDay, "d"), {kHour, "h"}, {kMinute, "m"}, {kSecond, "s"}}) {
    // Rounded before it is compared: 59.99 minutes are an hour.
    const int64_t tenths = (10 * ms + unit.v / 2) / unit.v;
    if (tenths < 10) continue;
    return tenths % 10 == 0 ? fmt::format("{}{}", tenths / 10, name)
                            : fmt::format("{}.{}{}", tenths / 10, tenths % 10, name);
  }
  return ms == 0 ? "0s" : fmt::format("{}ms", ms);
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

// UTF-8 that no terminal obeys: without control characters, and with ? for bytes that are not
// UTF-8.
inline std::string PrintableText(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const CodePoint point = FirstCodePoint(bytes);
    const bool is_control = point.value < 0x20 || (point.value >= 0x7f && point.value < 0xa0);
    if (point.length == 0)
      text += '?';
    else if (is_control)
      text += ' ';
    else
      text += bytes.substr(0, point.length);
    bytes.remove_prefix(std::max<size_t>(point.length, 1));
  }
  return text;
}

}  // namespace sightline
