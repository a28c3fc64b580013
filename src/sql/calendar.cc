#include "sql/calendar.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace sightline {

using std::chrono::sys_days;
using std::chrono::year_month_day;

namespace {

// -1: these are not all digits.
int Number(std::string_view digits) {
  int value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

// Removes two digits behind `mark` from the front of `text`. False: there is no such number below
// `end`.
bool TakeTwo(std::string_view& text, char mark, int end) {
  if (text.size() < 3 || text[0] != mark) return false;
  const int number = Number(text.substr(1, 2));
  if (number < 0 || number >= end) return false;
  text.remove_prefix(3);
  return true;
}

// Removes "." and up to six digits: DuckDB has microseconds, and what it does with more is its own.
// False: the text begins with "." and something else.
bool TakeFraction(std::string_view& text) {
  if (!text.starts_with('.')) return true;
  const size_t end = std::min(text.find_first_not_of("0123456789", 1), text.size());
  if (end < 2 || end > 7) return false;
  text.remove_prefix(end);
  return true;
}

}  // namespace

std::optional<Day> ParseDay(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return {};
  const int year = Number(text.substr(0, 4)), month = Number(text.substr(5, 2)),
            day = Number(text.substr(8, 2));
  if (year < 0 || month < 0 || day < 0) return {};
  const year_month_day date{std::chrono::year(year),
                            std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return {};
  return Day{sys_days(date).time_since_epoch().count()};
}

std::optional<std::pair<Day, Day>> ParseDays(std::string_view text) {
  const std::optional<Day> day = ParseDay(text.substr(0, 10));
  if (!day) return {};
  const std::pair alone{*day, Day{day->v + 1}};
  text.remove_prefix(10);
  if (text.empty()) return alone;
  if (!TakeTwo(text, text[0] == 'T' ? 'T' : ' ', 24) || !TakeTwo(text, ':', 60)) return {};
  if (text.empty()) return alone;
  if (!TakeTwo(text, ':', 60) || !TakeFraction(text)) return {};
  if (text.empty() || text == "Z") return alone;
  if (!TakeTwo(text, text[0] == '-' ? '-' : '+', 16)) return {};
  if (!text.empty() && !(TakeTwo(text, ':', 60) && text.empty())) return {};
  return std::pair{Day{day->v - 1}, Day{day->v + 2}};
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
  return fmt::format("{}T{:02}:{:02}:{:02}.{:03}", FormatDay({day.count()}), rest / 3'600'000,
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
