#include "sql/calendar.h"

#include <fmt/format.h>

#include <chrono>

namespace sightline {

using std::chrono::sys_days;
using std::chrono::year_month_day;

std::optional<Day> ParseDay(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return {};
  auto number = [&](size_t at, size_t digits) {
    int value = 0;
    for (const char c : text.substr(at, digits)) {
      if (c < '0' || c > '9') return -1;
      value = value * 10 + (c - '0');
    }
    return value;
  };
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  if (year < 0 || month < 0 || day < 0) return {};
  const year_month_day date{std::chrono::year(year),
                            std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return {};
  return Day{sys_days(date).time_since_epoch().count()};
}

std::string FormatDay(Day day) {
  const year_month_day date{sys_days(std::chrono::days(day.v))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

std::string FormatMicros(int64_t micros) {
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(std::chrono::microseconds(micros));
  const auto day = std::chrono::floor<std::chrono::days>(ms);
  const int64_t rest = (ms - day).count();
  return fmt::format("{}T{:02}:{:02}:{:02}.{:03}Z", FormatDay({day.count()}), rest / 3'600'000,
                     rest / 60'000 % 60, rest / 1000 % 60, rest % 1000);
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace sightline
