// SlotTable: maps an item's id to its slot; a look-up touches one cache line. Not thread-safe.
//
// A hash table with open addressing, at most half full. Nothing is erased from it: the series makes
// a new table when it frees slots.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "live/slot_counts.h"

namespace sightline {

class SlotTable {
 public:
  std::optional<Slot> Find(uint32_t item) const;
  // The item must not be in the table yet.
  void Insert(uint32_t item, Slot slot);
  int64_t memory_bytes() const { return static_cast<int64_t>(entries_.capacity() * sizeof(Entry)); }

 private:
  struct Entry {
    uint32_t item_plus_one = 0;  // 0: free
    Slot slot = 0;
  };
  size_t PlaceOf(uint32_t item) const {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4): ids are consecutive.
    return static_cast<uint32_t>(item * 2654435769u) >> shift_;
  }
  void Put(Entry entry);

  std::vector<Entry> entries_;  // a power of two of them
  uint32_t shift_ = 32;
  uint32_t size_ = 0;
};

}  // namespace sightline
