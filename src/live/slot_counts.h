// SlotCounts: counts by slot, a small number that stands for an item; 8 bytes per cell.
//
// An addition takes a few nanoseconds: it finds its cell by a hint, which says where the slot was
// last seen, or appends one. So a slot may have several cells until Compact(). Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sightline {

using Slot = uint32_t;
// For each slot, the index of the cell in which it was last seen. It is only a guess, so that many
// SlotCounts may share it and nobody need clear it. It must have an element for every slot.
using SlotHints = std::vector<uint32_t>;

class SlotCounts {
 public:
  struct Cell {
    Slot slot;
    uint32_t count;  // a larger count takes several cells
  };

  void Add(Slot slot, int64_t count, SlotHints& hints);
  // Merges cells until each slot has one (more where its count exceeds 32 bits).
  void Compact(SlotHints& hints);
  // The same, in ascending order of slots and without spare memory.
  void CompactSorted(SlotHints& hints);

  std::span<const Cell> cells() const { return cells_; }
  int64_t memory_bytes() const { return static_cast<int64_t>(cells_.capacity() * sizeof(Cell)); }

 private:
  std::vector<Cell> cells_;
  uint32_t compact_at_ = 16;  // Add() compacts at this many cells
};

}  // namespace sightline
