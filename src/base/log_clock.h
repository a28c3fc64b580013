// LogClock: the time of a log, by which its records are stamped and ages are measured
// (docs/SEMANTICS.md, "Log time").
//
// It runs by the machine's elapsed time, and follows the machine's wall clock only where that can
// be believed: where the two differ by less than an hour, where a time server keeps the wall clock,
// or where a person has accepted it. So a wall clock that somebody sets wrong, even for a moment,
// stamps no record and removes nothing. It never goes back. Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sightline {

class LogClock final : public Clock {
 public:
  // A time of the log, and where the machine's elapsed time was then. What a log stores.
  struct Anchor {
    int64_t time_ms = 0;
    int64_t elapsed_ms = 0;
    std::string boot;
    std::string ToText() const;
    static std::optional<Anchor> Parse(std::string_view text);
    friend bool operator==(const Anchor&, const Anchor&) = default;
  };
  // What is wrong with the clocks.
  struct Trouble {
    std::string text;  // a sentence for people, with the numbers; empty: nothing is wrong
    // How far the wall clock is ahead of the log's time; below 0: behind it.
    int64_t wall_ahead_ms = 0;
    bool refuses = false;  // nothing may be appended: no time for it is known
  };

  // `machine` outlives it. Until Resume() or Begin() there is no log, and this is the wall clock: a
  // process that stamps no records has nothing to hold against it.
  explicit LogClock(const Clock& machine) : machine_(machine), boot_(machine.BootId()) {}

  // Continues a log whose newest record has this time. Where the anchor is of this boot of the
  // machine, the time since then is known. Otherwise the wall clock is believed if it is at most
  // `ahead_max` ahead; beyond that nothing may be appended until one of the reasons above holds.
  void Resume(int64_t newest_ms, const std::optional<Anchor>& anchor, int64_t ahead_max_ms);

  // The log has its first record, with the time of now. It has a time of its own from here on.
  void Begin();

  int64_t NowMs() const override;
  int64_t ElapsedMs() const override { return machine_.ElapsedMs(); }
  std::string BootId() const override { return boot_; }
  bool IsSynchronised() const override { return machine_.IsSynchronised(); }

  Anchor Now() const;
  Trouble CheckTrouble() const;
  // Ages may be counted from here where that removes something: the smaller of wall clock and log
  // time. Nothing while the two cannot be brought together: then nothing may be removed for its
  // age.
  std::optional<int64_t> RetentionNowMs() const;

  // A person says that the wall clock is right.
  void Accept();

 private:
  void Read() const;

  const Clock& machine_;
  const std::string boot_;
  mutable std::mutex mutex_;
  // Under mutex_; each look at the clock moves them on.
  bool begun_ = false;
  mutable int64_t time_ms_ = 0, elapsed_ms_ = 0;
  mutable int64_t wall_ahead_ms_ = 0;
  mutable bool follows_ = true;
  // The wall clock that was accepted, as its difference from the elapsed time.
  std::optional<int64_t> accepted_;
  mutable bool refuses_ = false;
  int64_t ahead_max_ms_ = 0;
};

}  // namespace sightline
