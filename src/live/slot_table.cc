#include "live/slot_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"

namespace sightline {
namespace {

constexpr size_t kEntriesMin = 8;

}  // namespace

std::optional<Slot> SlotTable::Find(uint32_t item) const {
  if (entries_.empty()) return std::nullopt;
  for (size_t place = PlaceOf(item);; place = (place + 1) & (entries_.size() - 1)) {
    const Entry& entry = entries_[place];
    if (entry.item_plus_one == item + 1) return entry.slot;
    if (entry.item_plus_one == 0) return std::nullopt;
  }
}

void SlotTable::Insert(uint32_t item, Slot slot) {
  CHECK(item != UINT32_MAX);
  if (2 * (size_ + 1) > entries_.size()) {
    const std::vector<Entry> entries =
        std::exchange(entries_, std::vector<Entry>(std::max(kEntriesMin, 2 * entries_.size())));
    shift_ = 32 - static_cast<uint32_t>(std::countr_zero(entries_.size()));
    for (const Entry& entry : entries) {
      if (entry.item_plus_one != 0) Put(entry);
    }
  }
  Put({item + 1, slot});
  ++size_;
}

void SlotTable::Put(Entry entry) {
  size_t place = PlaceOf(entry.item_plus_one - 1);
  while (entries_[place].item_plus_one != 0) place = (place + 1) & (entries_.size() - 1);
  entries_[place] = entry;
}

}  // namespace sightline
