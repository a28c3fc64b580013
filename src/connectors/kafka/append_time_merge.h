// AppendTimeMerge: which of several partitions has its turn, so that they are read in step of
// append time, as if they were one log. Pure; one thread.
//
// A partition of which nothing is read ahead holds the others up, since its next record may be
// older than theirs. Only one that is at its end does so for no longer than `hold_max`: a record
// that comes later is newer, but for the brokers' clocks.
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

  // Its next record is of this time.
  void SetHead(size_t input, AppendTime time);
  // Nothing of it is read ahead. `at_end`: there is no more, as far as is known.
  void SetEmpty(size_t input, bool at_end, int64_t now_ms);
  // No more of it is wanted.
  void SetDone(size_t input);

  // Records of `input` up to `until`, that included, come before all others.
  struct Turn {
    size_t input = 0;
    AppendTime until;
  };
  // Nothing: some input holds the others up, or none has a record.
  std::optional<Turn> Next(int64_t now_ms) const;
  // The first that holds the others up and is not at its end.
  std::optional<size_t> awaited() const;
  bool done() const;  // all are

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
