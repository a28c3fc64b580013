// Event times from numbers in a unit or from RFC 3339 text, as milliseconds since the Unix epoch.
#pragma once

#include <string_view>

#include "base/time_zone.h"
#include "model/event.h"
#include "pipeline/spec.h"

namespace sightline {

// Rounds down to milliseconds. False if the time lies outside years 0001..9999.
bool TimeOfNumber(int64_t number, TimeUnit unit, EventTime* time);

// Reads seconds since the Unix epoch as JSON writes numbers, also with a fraction or an exponent,
// and rounds down to milliseconds. kWrongType if the text is not a number.
MalformedReason ParseDecimalSeconds(std::string_view text, EventTime* time);

// kWrongType if the text is not an RFC 3339 date-time; kOutOfRange if its year is 0000. Digits of
// the fraction beyond milliseconds are cut off. Decoding::kSecond also accepts what ISO 8601 and
// common libraries write: a comma before the fraction, a space before the zone, zones +hhmm and
// +hh, and a time without a zone, which `zone` then has (null: kNoTimeZone).
// Source: RFC 3339, section 5.6; days from civil by Howard Hinnant ("chrono-compatible low-level
// date algorithms").
MalformedReason ParseRfc3339(std::string_view text, Decoding version, const TimeZone* zone,
                             EventTime* time);

}  // namespace sightline
