#include "operators/parse_time.h"

#include <algorithm>
#include <optional>

namespace sightline {
namespace {

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

bool InRange(EventTime time) { return kFirstEventTime <= time && time <= kLastEventTime; }

// Parses the next `digits` characters as a number; nullopt if they are not all digits.
std::optional<int64_t> Digits(std::string_view& text, size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int64_t value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}
bool Skip(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

int64_t DaysFromCivil(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2;
  const int64_t era = FloorDivide(year, 400);
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}
int64_t DaysInMonth(int64_t year, int64_t month) {
  constexpr int64_t kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[month - 1] + (month == 2 && leap ? 1 : 0);
}

// Parses "YYYY-MM-DDThh:mm:ss" to milliseconds; nullopt if the text is not that.
std::optional<int64_t> DateTime(std::string_view& text, int64_t* year_out) {
  const auto year = Digits(text, 4);
  if (!year || !Skip(text, "-")) return std::nullopt;
  const auto month = Digits(text, 2);
  if (!month || *month < 1 || *month > 12 || !Skip(text, "-")) return std::nullopt;
  const auto day = Digits(text, 2);
  if (!day || *day < 1 || *day > DaysInMonth(*year, *month) || !Skip(text, "Tt "))
    return std::nullopt;
  const auto hour = Digits(text, 2);
  if (!hour || *hour > 23 || !Skip(text, ":")) return std::nullopt;
  const auto minute = Digits(text, 2);
  if (!minute || *minute > 59 || !Skip(text, ":")) return std::nullopt;
  const auto second = Digits(text, 2);
  if (!second || *second > 60)
    return std::nullopt;  // 60 is a leap second: it counts as the next second
  *year_out = *year;
  const int64_t days = DaysFromCivil(*year, *month, *day);
  return (((days * 24 + *hour) * 60 + *minute) * 60 + *second) * 1'000;
}

// Parses "Z" or "+hh:mm", and with `lax` also "+hhmm" and "+hh": the milliseconds to subtract.
std::optional<int64_t> Zone(std::string_view& text, bool lax) {
  if (Skip(text, "Zz")) return 0;
  const bool west = text.starts_with('-');
  if (!Skip(text, "+-")) return std::nullopt;
  const auto hours = Digits(text, 2);
  if (!hours || *hours > 23) return std::nullopt;
  if (lax && text.empty()) return *hours * (west ? -3'600'000 : 3'600'000);
  if (!Skip(text, ":") && !lax) return std::nullopt;
  const auto minutes = Digits(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  return (*hours * 60 + *minutes) * (west ? -60'000 : 60'000);
}

// A number as JSON writes it, as digits * 10^exponent.
struct Decimal {
  __int128 digits = 0;  // negative if the number is
  int64_t exponent = 0;
};

// Digits beyond this many do not change the millisecond of any time that is in range.
constexpr int64_t kDigitsMax = 30;
constexpr int64_t kExponentMax = 1'000;

std::optional<Decimal> ParseDecimal(std::string_view text) {
  const bool negative = Skip(text, "-");
  Decimal decimal;
  int64_t kept = 0;
  const auto take = [&](bool fraction) {
    size_t count = 0;
    for (; count < text.size() && text[count] >= '0' && text[count] <= '9'; ++count) {
      if (kept == kDigitsMax) {
        decimal.exponent += fraction ? 0 : 1;
        continue;
      }
      decimal.digits = decimal.digits * 10 + (text[count] - '0');
      if (decimal.digits != 0) ++kept;
      decimal.exponent -= fraction ? 1 : 0;
    }
    const bool leading_zero = !fraction && count > 1 && text.front() == '0';
    text.remove_prefix(count);
    return count > 0 && !leading_zero;
  };
  if (!take(false) || (Skip(text, ".") && !take(true))) return std::nullopt;
  if (Skip(text, "eE")) {
    const bool small = text.starts_with('-');
    Skip(text, "+-");
    int64_t exponent = 0;
    if (text.empty()) return std::nullopt;
    for (; !text.empty(); text.remove_prefix(1)) {
      if (text.front() < '0' || text.front() > '9') return std::nullopt;
      exponent = std::min(exponent * 10 + (text.front() - '0'), kExponentMax);
    }
    decimal.exponent += small ? -exponent : exponent;
  }
  if (!text.empty()) return std::nullopt;
  if (negative) decimal.digits = -decimal.digits;
  return decimal;
}

}  // namespace

bool TimeOfNumber(int64_t number, TimeUnit unit, EventTime* time) {
  switch (unit) {
    case TimeUnit::kSeconds:
      if (number < kFirstEventTime.v / 1'000 || number > kLastEventTime.v / 1'000) return false;
      *time = {number * 1'000};
      return true;
    case TimeUnit::kMillis:
      *time = {number};
      break;
    case TimeUnit::kMicros:
      *time = {FloorDivide(number, 1'000)};
      break;
    case TimeUnit::kNanos:
      *time = {FloorDivide(number, 1'000'000)};
      break;
  }
  return InRange(*time);
}

MalformedReason ParseDecimalSeconds(std::string_view text, EventTime* time) {
  const std::optional<Decimal> decimal = ParseDecimal(text);
  if (!decimal) return MalformedReason::kWrongType;
  int64_t exponent = decimal->exponent + 3;
  __int128 millis = decimal->digits;
  for (; exponent > 0 && millis != 0; --exponent) {
    millis *= 10;
    if (millis > kLastEventTime.v || millis < kFirstEventTime.v)
      return MalformedReason::kOutOfRange;
  }
  // Rounding down digit by digit is rounding down.
  for (; exponent < 0 && millis != 0 && millis != -1; ++exponent)
    millis = millis / 10 - (millis % 10 < 0 ? 1 : 0);
  if (millis > kLastEventTime.v || millis < kFirstEventTime.v) return MalformedReason::kOutOfRange;
  *time = {static_cast<int64_t>(millis)};
  return MalformedReason::kNone;
}

MalformedReason ParseRfc3339(std::string_view text, Decoding version, const TimeZone* zone,
                             EventTime* time) {
  const bool lax = version != Decoding::kFirst;
  int64_t year = 0;
  const auto date_time = DateTime(text, &year);
  if (!date_time) return MalformedReason::kWrongType;
  int64_t fraction_ms = 0;
  if (Skip(text, lax ? ".," : ".")) {
    size_t digits = 0;
    for (int64_t scale = 100; digits < text.size() && text[digits] >= '0' && text[digits] <= '9';
         ++digits, scale /= 10)
      fraction_ms += (text[digits] - '0') * scale;
    if (digits == 0) return MalformedReason::kWrongType;
    text.remove_prefix(digits);
  }
  if (lax && text.empty()) {
    if (zone == nullptr) return MalformedReason::kNoTimeZone;
    *time = {zone->MomentOf(*date_time + fraction_ms)};
  } else {
    if (lax) Skip(text, " ");
    const auto offset = Zone(text, lax);
    if (!offset || !text.empty()) return MalformedReason::kWrongType;
    *time = {*date_time + fraction_ms - *offset};
  }
  return InRange(*time) ? MalformedReason::kNone : MalformedReason::kOutOfRange;
}

}  // namespace sightline
