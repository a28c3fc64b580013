// Days and times as text, and ASCII lower case, for SQL and for results. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sql/read_bounds.h"

namespace sightline {

// Parses "2026-01-05"; none for any other text.
std::optional<Day> ParseDay(std::string_view text);
// "2026-01-05"
std::string FormatDay(Day day);
// "2026-01-05T10:03:00.000Z", rounded down to milliseconds.
std::string FormatMicros(int64_t micros);

std::string Lower(std::string_view text);

}  // namespace sightline
