// PaneGrid: how event time is cut into panes, windows and blocks of panes. Plain arithmetic.
#pragma once

#include <algorithm>

#include "base/check.h"
#include "model/types.h"

namespace sightline {

struct PaneGrid {
  PaneGrid(Millis pane_size, Millis window_size)
      : pane(pane_size),
        window(window_size),
        // About 64 panes: a range of a day is then some 140 sums of blocks and up to 128 panes.
        block{window_size.v * std::max<int64_t>(1, 64 * pane_size.v / window_size.v)} {
    CHECK(pane.v > 0 && window.v > 0 && window.v % pane.v == 0);
  }
  Millis pane;
  Millis window;  // a multiple of the pane
  Millis block;   // a multiple of the window
};

// What has become of old panes. Everything before packed_until is stored compactly, before
// downsampled_until time moves in steps of the window, before dropped_until nothing is known any
// more. Multiples of the block; they only ever grow.
struct Retention {
  EventTime packed_until = kBeforeAllTime;
  EventTime downsampled_until = kBeforeAllTime;
  EventTime dropped_until = kBeforeAllTime;
};

}  // namespace sightline
