// RunningSum: the counts of one series in one window, updated incrementally.
//
// Invariant: while is_valid(), counts() equal what PaneSeries::AddTo() gives for window(). For
// that, the owner must pass every addition to the series that falls into the window to Add(). Not
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "live/pane_series.h"
#include "model/types.h"

namespace sightline {

class RunningSum {
 public:
  bool is_valid(const PaneSeries& series) const { return generation_ == series.generation(); }
  bool Contains(EventTime pane_start) const {
    return window_.start <= pane_start && pane_start < window_.end;
  }
  // Adds a count that the series got in a pane which the window Contains(). `stamp`: see changed().
  void Add(Slot slot, int64_t count, uint64_t stamp) {
    if (slot >= counts_.size()) counts_.resize(slot + 1);
    counts_[slot] += count;
    total_ += count;
    changed_ = stamp;
  }
  // Moves the window by its difference; sums it anew where the windows do not overlap or the counts
  // are invalid.
  void MoveTo(const PaneSeries& series, Window window, uint64_t stamp);

  const Window& window() const { return window_; }
  const std::vector<int64_t>& counts() const { return counts_; }  // by slot; newest may be missing
  int64_t total() const { return total_; }
  // The stamp of the last call that may have changed a count.
  uint64_t changed() const { return changed_; }
  // The item that ranks first; none when the total is 0.
  std::optional<Slot> First(const PaneSeries& series);
  int64_t memory_bytes() const { return static_cast<int64_t>(counts_.capacity() * 8); }

 private:
  Window window_;
  std::vector<int64_t> counts_;
  int64_t total_ = 0;
  uint64_t generation_ = 0;
  uint64_t changed_ = 0;
  std::optional<Slot> first_;
  uint64_t first_changed_ = 0;  // first_ is valid while changed() is this
};

// The slot that ranks first among counts by slot; none when all are 0.
std::optional<Slot> FirstOf(const PaneSeries& series, const std::vector<int64_t>& counts);

}  // namespace sightline
