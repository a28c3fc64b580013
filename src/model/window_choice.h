// WindowChoice: which window a reader wants, relative to now. docs/PROTOCOL.md, "window" and "at".
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

constexpr Millis kWindowLengthMax{24 * 3'600'000LL};

// The last `length`, or "today" of the location's zone, or the same ending at a pane in the past
// (any sliding window of panes).
struct WindowChoice {
  bool today = false;
  Millis length{300'000};
  std::optional<EventTime> end;  // none: now; else rounded down to a pane
  friend auto operator<=>(const WindowChoice&, const WindowChoice&) = default;
  // "1m" "5m" "60m" "90s" "2h" "today"; kStop with what is accepted.
  static Result<WindowChoice> Parse(std::string_view text);
  // The same, and the length must be a multiple of `pane_size`.
  static Result<WindowChoice> Parse(std::string_view text, Millis pane_size);
  // The one spelling of a choice, whatever was parsed: "60m" for "1h", "2h" for "120m". Without
  // `end`.
  std::string ToString() const;
};

}  // namespace sightline
