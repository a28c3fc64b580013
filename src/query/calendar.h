// Days and times as text, and ASCII lower case: the few pieces of text that SQL and results share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "query/read_bounds.h"

namespace sightline {

// "2026-01-05"; nothing for any other text.
std::optional<Day> ParseDay(std::string_view text);
// "2026-01-05"
std::string FormatDay(Day day);
// "2026-01-05T10:03:00.000Z", cut to ms.
std::string FormatMicros(int64_t micros);

std::string Lower(std::string_view text);

}  // namespace sightline
