// PaneSeries: the counts of one location (or of all together), pane by pane and item by item.
//
// Panes lie in blocks that also hold their sum, so that any range is a few additions an item. Items
// are numbered by slots, dense and local to the series. Not thread-safe.
//
//   block of 60 panes, open:   panes {start, {slot, count}*}*   sums {slot, count}* or not yet
//   the same, packed:          index {pane, begin}*   sums {slot, count}*   bytes, a pane:
//                              n, then n times (slot - slot before, count), all varints
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "live/item_names.h"
#include "live/pane_grid.h"
#include "live/slot_counts.h"
#include "live/slot_table.h"
#include "model/types.h"

namespace sightline {

class PaneSeries {
 public:
  // `names` outlives the series.
  PaneSeries(const PaneGrid& grid, ItemNames* names) : grid_(grid), names_(names) {}
  ~PaneSeries();
  PaneSeries(const PaneSeries&) = delete;
  PaneSeries& operator=(const PaneSeries&) = delete;

  // The slot of an item, which is given one if it has none. Valid until the next Maintain().
  Slot SlotOf(ItemName* item);
  // `pane_start` is a multiple of the pane.
  void Add(EventTime pane_start, Slot slot, int64_t count);
  // Adds `sign` times the counts in [start, end) to `sums`, which is made as long as there are
  // slots. The bounds are multiples of the pane, and before Retention::downsampled_until of the
  // window. Returns the sum of what was found (without the sign).
  int64_t AddTo(Window range, int64_t sign, std::vector<int64_t>& sums) const;

  // Packs, downsamples and drops what is due, and frees the slots of items that are nowhere left.
  void Maintain(const Retention& retention);
  bool IsBehind(const Retention& retention, Millis by) const {
    return (retention.packed_until - maintained_.packed_until) > by;
  }
  // Changes when slots or the cutting of time have changed: sums made before it mean nothing.
  uint64_t generation() const { return generation_; }

  size_t slots() const { return items_.size(); }
  const std::string& name(Slot slot) const { return items_[slot]->text; }
  const ItemName* item(Slot slot) const { return items_[slot]; }
  int64_t memory_bytes() const;  // walks the blocks

 private:
  struct Pane {
    EventTime start;
    SlotCounts cells;
  };
  struct PackedPane {
    int32_t offset;  // from the block's start, in panes
    uint32_t begin;  // in `packed`
  };
  struct Block {
    std::vector<Pane> panes;  // by start; empty when packed
    // Made when they are first read, so that adding touches the pane only.
    mutable SlotCounts sums;
    mutable bool has_sums = false;
    std::vector<PackedPane> index;
    std::string packed;
    bool downsampled = false;
  };

  void Seek(EventTime pane_start);
  const SlotCounts& SumsOf(const Block& block) const;
  int64_t AddPanes(EventTime block_start, const Block& block, Window range, int64_t sign,
                   std::vector<int64_t>& sums) const;
  void Pack(EventTime block_start, Block& block);
  void Unpack(EventTime block_start, Block& block);
  void Downsample(EventTime block_start, Block& block);
  void FreeUnusedSlots();

  const PaneGrid grid_;
  ItemNames* const names_;
  SlotTable slot_of_;  // by ItemName::id
  // Where Add() was last.
  EventTime current_start_ = kBeforeAllTime;
  EventTime current_block_start_ = kBeforeAllTime;
  Block* current_block_ = nullptr;
  SlotCounts* current_cells_ = nullptr;
  mutable SlotHints hints_;
  std::map<EventTime, Block> blocks_;  // by start
  std::vector<ItemName*> items_;       // by slot; nullptr: free
  std::vector<Slot> free_slots_;
  Retention maintained_;
  uint64_t generation_ = 0;
};

}  // namespace sightline
