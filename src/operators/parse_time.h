// Event times from integers in a unit or from RFC 3339 text, as milliseconds since the Unix epoch.
#pragma once

#include <string_view>

#include "model/event.h"
#include "pipeline/spec.h"

namespace sightline {

// Rounds down to milliseconds. False if the time lies outside years 0001..9999.
bool TimeOfNumber(int64_t number, TimeUnit unit, EventTime* time);

// kWrongType if the text is not an RFC 3339 date-time; kOutOfRange if its year is 0000. Digits of
// the fraction beyond milliseconds are cut off.
// Source: RFC 3339, section 5.6; days from civil by Howard Hinnant ("chrono-compatible low-level
// date algorithms").
MalformedReason ParseRfc3339(std::string_view text, EventTime* time);

}  // namespace sightline
