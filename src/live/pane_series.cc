#include "live/pane_series.h"

#include <algorithm>
#include <iterator>

#include "base/bytes.h"
#include "base/check.h"

namespace sightline {

PaneSeries::~PaneSeries() {
  for (ItemName* item : items_) {
    if (item != nullptr) names_->Release(item);
  }
}

Slot PaneSeries::SlotOf(ItemName* item) {
  if (const auto slot = slot_of_.Find(item->id)) return *slot;
  names_->Hold(item);
  Slot slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<Slot>(items_.size());
    items_.push_back(item);
    hints_.push_back(0);
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
    items_[slot] = item;
  }
  slot_of_.Insert(item->id, slot);
  return slot;
}

void PaneSeries::Add(EventTime pane_start, Slot slot, int64_t count) {
  if (pane_start != current_start_ || current_block_ == nullptr) Seek(pane_start);
  current_block_->has_sums = false;
  current_cells_->Add(slot, count, hints_);
}

void PaneSeries::Seek(EventTime pane_start) {
  const EventTime block_start = WindowStart(pane_start, grid_.block);
  if (current_block_ == nullptr || current_block_start_ != block_start) {
    current_block_ = &blocks_[block_start];
    current_block_start_ = block_start;
  }
  Block& block = *current_block_;
  if (!block.packed.empty()) Unpack(block_start, block);
  // A block made late, where others were downsampled already, is downsampled like them.
  if (block_start + grid_.block <= maintained_.downsampled_until) block.downsampled = true;
  const EventTime start = block.downsampled ? WindowStart(pane_start, grid_.window) : pane_start;
  // Nearly always one of the last.
  auto it = block.panes.end();
  while (it != block.panes.begin() && std::prev(it)->start >= start) --it;
  if (it == block.panes.end() || it->start != start) it = block.panes.insert(it, {start, {}});
  current_start_ = pane_start;
  current_cells_ = &it->cells;
}

const SlotCounts& PaneSeries::SumsOf(const Block& block) const {
  if (block.has_sums) return block.sums;
  block.sums = SlotCounts();
  for (const Pane& pane : block.panes) {
    for (const SlotCounts::Cell& cell : pane.cells.cells())
      block.sums.Add(cell.slot, cell.count, hints_);
  }
  block.has_sums = true;
  return block.sums;
}

int64_t PaneSeries::AddTo(Window range, int64_t sign, std::vector<int64_t>& sums) const {
  if (sums.size() < items_.size()) sums.resize(items_.size());
  int64_t found = 0;
  for (auto it = blocks_.lower_bound(WindowStart(range.start, grid_.block));
       it != blocks_.end() && it->first < range.end; ++it) {
    const auto& [block_start, block] = *it;
    if (block_start < range.start || range.end < block_start + grid_.block) {
      found += AddPanes(block_start, block, range, sign, sums);
      continue;
    }
    for (const SlotCounts::Cell& cell : SumsOf(block).cells()) {
      sums[cell.slot] += sign * cell.count;
      found += cell.count;
    }
  }
  return found;
}

int64_t PaneSeries::AddPanes(EventTime block_start, const Block& block, Window range, int64_t sign,
                             std::vector<int64_t>& sums) const {
  int64_t found = 0;
  for (const Pane& pane : block.panes) {
    if (pane.start < range.start || pane.start >= range.end) continue;
    for (const SlotCounts::Cell& cell : pane.cells.cells()) {
      sums[cell.slot] += sign * cell.count;
      found += cell.count;
    }
  }
  for (const PackedPane& pane : block.index) {
    const EventTime start = block_start + Millis{pane.offset * grid_.pane.v};
    if (start < range.start || start >= range.end) continue;
    ByteReader in(std::string_view(block.packed).substr(pane.begin));
    Slot slot = 0;
    for (uint64_t n = in.Varint(); n > 0; --n) {
      slot += static_cast<Slot>(in.Varint());
      const auto count = static_cast<int64_t>(in.Varint());
      sums[slot] += sign * count;
      found += count;
    }
  }
  return found;
}

void PaneSeries::Pack(EventTime block_start, Block& block) {
  SumsOf(block);
  ByteWriter out;
  for (Pane& pane : block.panes) {
    pane.cells.CompactSorted(hints_);
    block.index.push_back({static_cast<int32_t>((pane.start - block_start).v / grid_.pane.v),
                           static_cast<uint32_t>(out.size())});
    out.Varint(pane.cells.cells().size());
    Slot slot = 0;
    for (const SlotCounts::Cell& cell : pane.cells.cells()) {
      out.Varint(cell.slot - slot);
      out.Varint(cell.count);
      slot = cell.slot;
    }
  }
  block.packed = out.Take();
  block.packed.shrink_to_fit();
  block.index.shrink_to_fit();
  block.sums.CompactSorted(hints_);
  block.panes = std::vector<Pane>();  // "= {}" would keep the memory
}

void PaneSeries::Unpack(EventTime block_start, Block& block) {
  block.panes.reserve(block.index.size());
  for (const PackedPane& packed : block.index) {
    Pane& pane = block.panes.emplace_back();
    pane.start = block_start + Millis{packed.offset * grid_.pane.v};
    ByteReader in(std::string_view(block.packed).substr(packed.begin));
    Slot slot = 0;
    for (uint64_t n = in.Varint(); n > 0; --n) {
      slot += static_cast<Slot>(in.Varint());
      pane.cells.Add(slot, static_cast<int64_t>(in.Varint()), hints_);
    }
  }
  block.packed = std::string();
  block.index = std::vector<PackedPane>();
}

void PaneSeries::Downsample(EventTime block_start, Block& block) {
  if (!block.packed.empty()) Unpack(block_start, block);
  std::vector<Pane> steps;
  for (const Pane& pane : block.panes) {
    const EventTime start = WindowStart(pane.start, grid_.window);
    if (steps.empty() || steps.back().start != start) steps.push_back({start, {}});
    for (const SlotCounts::Cell& cell : pane.cells.cells())
      steps.back().cells.Add(cell.slot, cell.count, hints_);
  }
  block.panes = std::move(steps);
  block.downsampled = true;
}

void PaneSeries::Maintain(const Retention& retention) {
  current_block_ = nullptr;
  bool dropped = false;
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    auto& [start, block] = *it;
    const EventTime end = start + grid_.block;
    if (end > retention.packed_until) break;
    if (end <= retention.dropped_until) {
      it = blocks_.erase(it);
      dropped = true;
      continue;
    }
    if (end <= retention.downsampled_until && !block.downsampled) {
      Downsample(start, block);
      ++generation_;
    }
    if (block.packed.empty()) Pack(start, block);
    ++it;
  }
  maintained_ = retention;
  if (dropped) FreeUnusedSlots();
}

void PaneSeries::FreeUnusedSlots() {
  ++generation_;
  std::vector<bool> used(items_.size());
  for (const auto& [start, block] : blocks_) {
    for (const SlotCounts::Cell& cell : SumsOf(block).cells()) used[cell.slot] = true;
  }
  slot_of_ = SlotTable();
  bool any = false;
  for (Slot slot = 0; slot < items_.size(); ++slot) {
    if (items_[slot] == nullptr) continue;
    if (used[slot]) {
      slot_of_.Insert(items_[slot]->id, slot);
      any = true;
      continue;
    }
    names_->Release(items_[slot]);
    items_[slot] = nullptr;
    free_slots_.push_back(slot);
  }
  if (any) return;
  items_ = std::vector<ItemName*>();  // nothing here any more: give all memory back
  free_slots_ = std::vector<Slot>();
  hints_ = SlotHints();
}

int64_t PaneSeries::memory_bytes() const {
  size_t bytes = items_.capacity() * sizeof(ItemName*) + hints_.capacity() * sizeof(uint32_t) +
                 free_slots_.capacity() * sizeof(Slot) +
                 static_cast<size_t>(slot_of_.memory_bytes());
  for (const auto& [start, block] : blocks_) {
    bytes += sizeof(Block) + 48 + static_cast<size_t>(block.sums.memory_bytes()) +
             block.panes.capacity() * sizeof(Pane) + block.packed.capacity() +
             block.index.capacity() * sizeof(PackedPane);
    for (const Pane& pane : block.panes) bytes += static_cast<size_t>(pane.cells.memory_bytes());
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace sightline
