// FactIndex: finds the newest fact of a key by the key's hash, in 8 bytes a slot.
//
// An open-addressing table that is at most half full. The keys themselves are stored with the
// facts, and nothing is erased. It is made for look-ups ahead of time: Guess() reads a single cache
// line, which Prefetch() loads. Owned and used by one thread.
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
  // A fact whose key has this hash, without comparing the key; kNone if there is none.
  uint32_t Guess(uint32_t hash) const {
    if (slots_.empty()) return kNone;
    for (size_t i = Home(hash); slots_[i].fact != kNone; i = (i + 1) & (slots_.size() - 1))
      if (slots_[i].hash == hash) return slots_[i].fact;
    return kNone;
  }
  // The slot of the fact with this hash for which `same` holds. A new slot holds kNone: the caller
  // sets it.
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

  std::vector<Slot> slots_;  // their number is a power of two
  uint32_t shift_ = 31;
  size_t size_ = 0;
};

}  // namespace sightline
