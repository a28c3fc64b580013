#include "base/log_clock.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace sightline {
namespace {

// Time servers, leap seconds and people who correct a clock by hand stay below it.
constexpr int64_t kBelievedMs = 3'600'000;

std::string TimeText(int64_t ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(ms / 1'000));
}

std::string LengthText(int64_t ms) {
  const int64_t minutes = std::abs(ms) / 60'000;
  if (minutes >= 2 * 1'440) return fmt::format("{} d", minutes / 1'440);
  return fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

}  // namespace

std::string LogClock::Anchor::ToText() const {
  return fmt::format("{} {} {}", time_ms, elapsed_ms, boot);
}

std::optional<LogClock::Anchor> LogClock::Anchor::Parse(std::string_view text) {
  Anchor anchor;
  const char* const end = text.data() + text.size();
  auto read = std::from_chars(text.data(), end, anchor.time_ms);
  if (read.ec != std::errc() || read.ptr == end || *read.ptr != ' ') return std::nullopt;
  read = std::from_chars(read.ptr + 1, end, anchor.elapsed_ms);
  if (read.ec != std::errc() || read.ptr == end || *read.ptr != ' ') return std::nullopt;
  anchor.boot = std::string(read.ptr + 1, end);
  return anchor;
}

void LogClock::Resume(int64_t newest_ms, const std::optional<Anchor>& anchor,
                      int64_t ahead_max_ms) {
  const std::lock_guard lock(mutex_);
  begun_ = true;
  ahead_max_ms_ = ahead_max_ms;
  const int64_t elapsed = machine_.ElapsedMs();
  const bool known = anchor && !boot_.empty() && anchor->boot == boot_ &&
                     anchor->elapsed_ms <= elapsed && anchor->time_ms == newest_ms;
  time_ms_ = newest_ms;
  elapsed_ms_ = known ? anchor->elapsed_ms : elapsed;
  // Nobody knows how long the log was closed: Read() believes what is possible.
  refuses_ = !known && machine_.NowMs() - newest_ms > kBelievedMs;
  Read();
}

// Looks at the clocks, and moves the log's time on.
void LogClock::Read() const {
  const int64_t wall = machine_.NowMs(), elapsed = machine_.ElapsedMs();
  if (!begun_) {
    time_ms_ = wall;
  } else {
    const int64_t expected = time_ms_ + std::max<int64_t>(0, elapsed - elapsed_ms_);
    const int64_t ahead = wall - expected;
    const bool accepted = accepted_ && std::abs(wall - elapsed - *accepted_) < kBelievedMs;
    follows_ = std::abs(ahead) < kBelievedMs || accepted ||
               (refuses_ && 0 <= ahead && ahead <= ahead_max_ms_) || machine_.IsSynchronised();
    if (follows_) refuses_ = false;
    if (refuses_) {
      // The log's time stands still: its next record comes after a time that nobody knows.
    } else {
      time_ms_ = follows_ ? std::max(time_ms_, wall) : expected;
    }
  }
  elapsed_ms_ = elapsed;
  wall_ahead_ms_ = wall - time_ms_;
}

void LogClock::Begin() {
  const std::lock_guard lock(mutex_);
  if (!begun_) Read();
  begun_ = true;
}

int64_t LogClock::NowMs() const {
  const std::lock_guard lock(mutex_);
  Read();
  return time_ms_;
}

LogClock::Anchor LogClock::Now() const {
  const std::lock_guard lock(mutex_);
  Read();
  return {time_ms_, elapsed_ms_, boot_};
}

LogClock::Trouble LogClock::CheckTrouble() const {
  const std::lock_guard lock(mutex_);
  Read();
  if (std::abs(wall_ahead_ms_) < kBelievedMs && !refuses_) return {};
  const int64_t wall = time_ms_ + wall_ahead_ms_;
  const std::string clocks = fmt::format(
      "the machine's clock ({}) is {} {} the log's time ({})", TimeText(wall),
      LengthText(wall_ahead_ms_), wall_ahead_ms_ > 0 ? "ahead of" : "behind", TimeText(time_ms_));
  std::string text;
  if (refuses_) {
    text = fmt::format(
        "{}, and how long the log was closed is not known: detections are refused until the clock "
        "is right. Correct it, start a time server, or run `sightline clock accept` if it is right",
        clocks);
  } else if (!follows_) {
    text = fmt::format(
        "{}: records get the log's time, and nothing is removed for its age. Correct the clock, "
        "start a time server, or run `sightline clock accept` if the machine's clock is right",
        clocks);
  } else {
    text = fmt::format(
        "{}: events of now may be too late or look older than they are, because the log's newest "
        "record has a time ahead of now. Begin with a new data folder, and send the refused events "
        "there (docs/OPERATIONS.md, \"Clocks\")",
        clocks);
  }
  return {.text = std::move(text), .wall_ahead_ms = wall_ahead_ms_, .refuses = refuses_};
}

std::optional<int64_t> LogClock::RetentionNowMs() const {
  const std::lock_guard lock(mutex_);
  Read();
  if (refuses_ || !follows_) return std::nullopt;
  return time_ms_ + std::min<int64_t>(0, wall_ahead_ms_);
}

void LogClock::Accept() {
  const std::lock_guard lock(mutex_);
  accepted_ = machine_.NowMs() - machine_.ElapsedMs();
  Read();
}

}  // namespace sightline
