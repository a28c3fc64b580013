// FactIndex: where the newest fact of a key is, by the key's hash; 8 bytes a slot.
//
// Open addressing, at most half full; the keys themselves stand with the facts. Nothing is erased.
// Made for look-ups long before their turn: Guess() reads one cache line, which Prefetch() asks
// for. Owned and used by one thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/touch.h"

namespace sightline {

class FactIndex {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  void Prefetch(uint32_t hash) const {
    if (!slots_.empty()) Touch(&slots_[Home(hash)]);
  }
  // A fact whose key has this hash, without a look at its key; kNone if there is none.
  uint32_t Guess(uint32_t hash) const {
    if (slots_.empty()) return kNone;
    for (size_t i = Home(hash); slots_[i].fact != kNone; i = (i + 1) & (slots_.size() - 1))
      if (slots_[i].hash == hash) return slots_[i].fact;
    return kNone;
  }
  // The place of the fact of this hash for which `same` holds; holds kNone if it is new: set it.
  template <typename Same>
  uint32_t& At(uint32_t hash, Same same) {
    if (2 * (size_ + 1) > slots_.size()) Grow();
    size_t i = Home(hash);
    for (; slots_[i].fact != kNone; i = (i + 1) & (slots_.size() - 1))
      if (slots_[i].hash == hash && same(slots_[i].fact)) return slots_[i].fact;
    ++size_;
    slots_[i].hash = hash;
    return slots_[i].fact;
  }
  void Clear() { *this = FactIndex(); }

 private:
  static constexpr size_t kSlotsMin = 16;
  struct Slot {
    uint32_t hash = 0;
    uint32_t fact = kNone;
  };
  size_t Home(uint32_t hash) const { return hash >> shift_; }
  void Grow() {
    const size_t slots = slots_.empty() ? kSlotsMin : 2 * slots_.size();
    CHECK(slots <= size_t{1} << 31);
    const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots));
    shift_ = 32 - static_cast<uint32_t>(std::countr_zero(slots));
    for (const Slot& slot : old) {
      if (slot.fact == kNone) continue;
      size_t i = Home(slot.hash);
      while (slots_[i].fact != kNone) i = (i + 1) & (slots - 1);
      slots_[i] = slot;
    }
  }

  std::vector<Slot> slots_;  // a power of two of them
  uint32_t shift_ = 31;
  size_t size_ = 0;
};

}  // namespace sightline
