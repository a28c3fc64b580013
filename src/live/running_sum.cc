#include "live/running_sum.h"

#include <algorithm>

namespace sightline {

std::optional<Slot> FirstOf(const PaneSeries& series, const std::vector<int64_t>& counts) {
  std::optional<Slot> first;
  int64_t most = 0;
  for (Slot slot = 0; slot < counts.size(); ++slot) {
    if (counts[slot] < most || counts[slot] == 0) continue;
    if (counts[slot] == most && series.name(slot) > series.name(*first)) continue;
    first = slot;
    most = counts[slot];
  }
  return first;
}

void RunningSum::MoveTo(const PaneSeries& series, Window window, uint64_t stamp) {
  const Window was = window_;
  window_ = window;
  const bool overlaps = was.start < window.end && window.start < was.end;
  if (!is_valid(series) || !overlaps) {
    const bool was_empty = total_ == 0;
    counts_.assign(series.slots(), 0);
    total_ = series.AddTo(window, 1, counts_);
    generation_ = series.generation();
    if (!was_empty || total_ != 0) changed_ = stamp;
    return;
  }
  // Only what leaves at one end and enters at the other is summed.
  int64_t gone = 0, came = 0;
  if (was.start < window.start) gone += series.AddTo({was.start, window.start}, -1, counts_);
  if (window.end < was.end) gone += series.AddTo({window.end, was.end}, -1, counts_);
  if (window.start < was.start) came += series.AddTo({window.start, was.start}, 1, counts_);
  if (was.end < window.end) came += series.AddTo({was.end, window.end}, 1, counts_);
  total_ += came - gone;
  if (gone != 0 || came != 0) changed_ = stamp;
}

std::optional<Slot> RunningSum::First(const PaneSeries& series) {
  if (first_changed_ != changed_) {
    first_ = FirstOf(series, counts_);
    first_changed_ = changed_;
  }
  return first_;
}

}  // namespace sightline
