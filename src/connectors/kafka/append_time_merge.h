// AppendTimeMerge: decides which of several partitions is read next, so that their records come in
// order of append time, as if they were one log. It has no I/O and no clock. One thread.
//
// A partition of which nothing is read ahead holds up the others, because its next record may be
// older than theirs. A partition that is at its end does so for at most `hold_max`: a record that
// arrives later is newer, up to the difference of the brokers' clocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "model/types.h"

namespace sightline {

class AppendTimeMerge {
 public:
  AppendTimeMerge(size_t inputs, Millis hold_max) : hold_max_(hold_max), inputs_(inputs) {}

  // The next record of `input` has this append time.
  void SetHead(size_t input, AppendTime time);
  // Nothing of `input` is read ahead. `at_end`: as far as is known, there is nothing more to read.
  void SetEmpty(size_t input, bool at_end, int64_t now_ms);
  // Nothing more of `input` is wanted.
  void SetDone(size_t input);

  // The records of `input` up to and including the time `until` come before all others.
  struct Turn {
    size_t input = 0;
    AppendTime until;
  };
  // Nothing if some input holds up the others, or if none has a record.
  std::optional<Turn> Next(int64_t now_ms) const;
  // The first input that holds up the others although it is not known to be at its end.
  std::optional<size_t> awaited() const;
  bool done() const;  // all inputs are done

 private:
  enum class State : uint8_t { kUnknown, kHead, kAtEnd, kDone };
  struct Input {
    State state = State::kUnknown;
    AppendTime head;           // of kHead
    int64_t at_end_since = 0;  // of kAtEnd
  };
  const Millis hold_max_;
  std::vector<Input> inputs_;
};

}  // namespace sightline
