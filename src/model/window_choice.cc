#include "model/window_choice.h"

#include <fmt/format.h>

#include <charconv>

namespace sightline {
namespace {

constexpr int64_t kSecond = 1'000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;

int64_t UnitOf(char letter) {
  switch (letter) {
    case 's':
      return kSecond;
    case 'm':
      return kMinute;
    case 'h':
      return kHour;
    default:
      return 0;
  }
}

// What is accepted, without the text that was not: it came from outside and may be of any length.
Status Refused() {
  return Status::Stop(
      "window is not understood: use \"today\" or a length from 1s to 24h, such as \"90s\", "
      "\"5m\" or \"2h\"");
}

}  // namespace

Result<WindowChoice> WindowChoice::Parse(std::string_view text) {
  if (text == "today") return WindowChoice{.today = true};
  if (text.size() < 2 || text.front() < '0' || text.front() > '9') return Refused();
  const int64_t unit = UnitOf(text.back());
  const char* const end = text.data() + text.size() - 1;
  int64_t n = 0;
  const auto [parsed, error] = std::from_chars(text.data(), end, n);
  if (unit == 0 || error != std::errc{} || parsed != end) return Refused();
  if (n < 1 || n > kWindowLengthMax.v / unit) return Refused();
  return WindowChoice{.length = {n * unit}};
}

Result<WindowChoice> WindowChoice::Parse(std::string_view text, Millis pane_size) {
  Result<WindowChoice> choice = Parse(text);
  if (!choice.ok() || choice.value().today) return choice;
  if (choice.value().length.v % pane_size.v != 0) {
    return Status::Stop(fmt::format("window \"{}\" is no multiple of the pane: use one of {} ms",
                                    choice.value().ToString(), pane_size.v));
  }
  return choice;
}

std::string WindowChoice::ToString() const {
  if (today) return "today";
  // An hour is "60m", as the page and the documents call it.
  if (length.v > kHour && length.v % kHour == 0) return fmt::format("{}h", length.v / kHour);
  if (length.v % kMinute == 0) return fmt::format("{}m", length.v / kMinute);
  return fmt::format("{}s", length.v / kSecond);
}

}  // namespace sightline
