// SlotCounts: counts by slot (a small number that stands for an item), 8 bytes a cell.
//
// Adding is a few nanoseconds: a cell is found by a hint (where its slot was seen last) or
// appended; a slot may therefore have several cells until Compact(). Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sightline {

using Slot = uint32_t;
// By slot: the cell in which it was seen last. Only ever a guess, so it may be shared by many
// SlotCounts and never needs clearing. It must have an element for every slot.
using SlotHints = std::vector<uint32_t>;

class SlotCounts {
 public:
  struct Cell {
    Slot slot;
    uint32_t count;  // a larger count takes several cells
  };

  void Add(Slot slot, int64_t count, SlotHints& hints);
  // One cell a slot (unless its count is beyond 32 bits).
  void Compact(SlotHints& hints);
  // The same in ascending order of slots, with no memory to spare.
  void CompactSorted(SlotHints& hints);

  std::span<const Cell> cells() const { return cells_; }
  int64_t memory_bytes() const { return static_cast<int64_t>(cells_.capacity() * sizeof(Cell)); }

 private:
  std::vector<Cell> cells_;
  uint32_t compact_at_ = 16;  // when so many cells are there
};

}  // namespace sightline
