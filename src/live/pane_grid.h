// PaneGrid: divides event time into panes, windows and blocks of panes. Plain arithmetic.
#pragma once

#include <algorithm>

#include "base/check.h"
#include "model/types.h"

namespace sightline {

struct PaneGrid {
  PaneGrid(Millis pane_size, Millis window_size)
      : pane(pane_size),
        window(window_size),
        // A block has about 64 panes: a day is then some 140 block sums and up to 128 panes.
        block{window_size.v * std::max<int64_t>(1, 64 * pane_size.v / window_size.v)} {
    CHECK(pane.v > 0 && window.v > 0 && window.v % pane.v == 0);
  }
  Millis pane;
  Millis window;  // a multiple of the pane
  Millis block;   // a multiple of the window
};

// How far old panes have been reduced. Before packed_until they are stored compactly, before
// downsampled_until only sums per window are left, before dropped_until nothing is. All three are
// multiples of the block and only ever grow.
struct Retention {
  EventTime packed_until = kBeforeAllTime;
  EventTime downsampled_until = kBeforeAllTime;
  EventTime dropped_until = kBeforeAllTime;
};

}  // namespace sightline
