#include "live/slot_counts.h"

#include <algorithm>

#include "base/check.h"

namespace sightline {

void SlotCounts::Add(Slot slot, int64_t count, SlotHints& hints) {
  CHECK(count >= 0 && slot < hints.size());
  const uint32_t guess = hints[slot];
  if (guess < cells_.size() && cells_[guess].slot == slot &&
      count <= UINT32_MAX - cells_[guess].count) [[likely]] {
    cells_[guess].count += static_cast<uint32_t>(count);
    return;
  }
  while (count > 0) {
    const int64_t part = std::min<int64_t>(count, UINT32_MAX);
    hints[slot] = static_cast<uint32_t>(cells_.size());
    cells_.push_back({slot, static_cast<uint32_t>(part)});
    count -= part;
  }
  if (cells_.size() >= compact_at_) Compact(hints);
}

void SlotCounts::Compact(SlotHints& hints) {
  uint32_t kept = 0;
  for (const Cell cell : cells_) {  // a copy: cells_[kept] may be this one
    const uint32_t guess = hints[cell.slot];
    if (guess < kept && cells_[guess].slot == cell.slot &&
        cell.count <= UINT32_MAX - cells_[guess].count) {
      cells_[guess].count += cell.count;
      continue;
    }
    hints[cell.slot] = kept;
    cells_[kept++] = cell;
  }
  cells_.resize(kept);
  compact_at_ = 2 * kept + 16;  // doubling makes compaction O(1) per addition, amortised
}

void SlotCounts::CompactSorted(SlotHints& hints) {
  Compact(hints);
  std::sort(cells_.begin(), cells_.end(),
            [](const Cell& a, const Cell& b) { return a.slot < b.slot; });
  cells_.shrink_to_fit();
}

}  // namespace sightline
