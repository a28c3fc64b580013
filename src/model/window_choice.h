// WindowChoice: the window that a reader wants, relative to now. docs/PROTOCOL.md, "window", "at".
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

constexpr Millis kWindowLengthMax{24 * 3'600'000LL};

// The last `length` of time, or "today" in the location's time zone. With `end` it is the same
// window ending at a pane in the past.
struct WindowChoice {
  bool today = false;
  Millis length{300'000};
  std::optional<EventTime> end;  // none: now; else rounded down to a pane
  friend auto operator<=>(const WindowChoice&, const WindowChoice&) = default;
  // "1m" "5m" "60m" "90s" "2h" "today". kStop: the text is something else; the message says what is
  // accepted.
  static Result<WindowChoice> Parse(std::string_view text);
  // The same, and the length must be a multiple of `pane_size`.
  static Result<WindowChoice> Parse(std::string_view text, Millis pane_size);
  // The canonical spelling, whatever was parsed: "60m" for "1h", "2h" for "120m". Without `end`.
  std::string ToString() const;
};

}  // namespace sightline
