// Days and times as text, and ASCII lower case, for SQL and for results. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sql/read_bounds.h"

namespace sightline {

// Parses "2026-01-05"; none for any other text.
std::optional<Day> ParseDay(std::string_view text);
// The days in which the moment lies that `text` names for DuckDB, [first, end). The text is exactly
// "2026-01-05", or a day and a time of 24 hours ("2026-01-05 10:03", "2026-01-05T10:03:00.000Z",
// "2026-01-05 10:03:00+01:30"). With a zone there are three days: a zone moves a moment by less
// than a day, and DuckDB ignores it in a TIMESTAMP. None for any other text, of which DuckDB may
// make something else, or nothing.
std::optional<std::pair<Day, Day>> ParseDays(std::string_view text);
// "2026-01-05"
std::string FormatDay(Day day);
// "2026-01-05T10:03:00.000", rounded down to milliseconds. Add "Z" if the time is UTC.
std::string FormatMicros(int64_t micros);

std::string Lower(std::string_view text);

}  // namespace sightline
