// IdMemory: the remembered ids of one partition, in 16 bytes each.
//
// An open-addressing table in kShards shards. Inside a shard the entries are sorted by hash, each
// at or behind the slot where its hash falls (linear probing kept in order). So a look-up of an
// absent id ends at the first greater hash, and one ordered pass rebuilds a shard. The hash is a
// bijection of the id: equal hashes are equal ids, and the id itself is not stored.
//
// Nothing is erased one by one. Whether an entry is still remembered is decided when it is found
// (docs/SEMANTICS.md, "Memory"), and a full shard is rebuilt without the forgotten entries. Shards
// grow in small steps and each at another time, which keeps the memory near 16 bytes / 0.67 per id
// at every size.
//
// Owned and used by one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/large_memory.h"
#include "base/touch.h"

namespace sightline {

// The finaliser of MurmurHash3 (Austin Appleby, public domain): a bijection of 64 bits.
constexpr uint64_t HashId(uint64_t id) {
  id = (id ^ (id >> 33)) * 0xff51afd7ed558ccdull;
  id = (id ^ (id >> 33)) * 0xc4ceb9fe1a85ec53ull;
  return id ^ (id >> 33);
}

class IdMemory {
 public:
  static constexpr uint32_t kEmpty = UINT32_MAX;
  static constexpr size_t kShardBits = 5;
  static constexpr size_t kShards = size_t{1} << kShardBits;

  struct Entry {
    uint64_t hash = 0;
    uint32_t fact = kEmpty;  // number of the first copy's (camera, location, item)
    uint32_t newest = 0;     // greatest event time of the copies, in ms after the fact's base
  };

  IdMemory() : shards_(new Shard[kShards]) {}

  // Loads the cache lines that Find(hash) will read.
  void Prefetch(uint64_t hash) const {
    const Shard& shard = shards_[ShardOf(hash)];
    if (shard.capacity == 0) return;
    const Entry* home = &shard.entries[Home(shard, hash)];
    Touch(home);
    Touch(home + 4);  // most probes end within two cache lines
  }

  // The first entry with this hash for which `same` holds; null if there is none. (With identity
  // camera + detection, several entries may have one hash.) Valid until the next Insert().
  template <typename Same>
  Entry* Find(uint64_t hash, Same same) {
    Shard& shard = shards_[ShardOf(hash)];
    if (shard.capacity == 0) return nullptr;
    for (Entry* e = &shard.entries[Home(shard, hash)]; e->fact != kEmpty && e->hash <= hash; ++e)
      if (e->hash == hash && same(*e)) return e;
    return nullptr;
  }

  // Makes room for `ids` entries at once; the memory must be empty. Entries that arrive in the
  // order of their hashes would otherwise crowd the beginning of shards that are still small.
  void Reserve(uint64_t ids) {
    CHECK(size_ == 0);
    for (size_t s = 0; s < kShards; ++s)
      shards_[s] = Make(ids / kShards * kRoom / kFull + 8, kSlackMin);
  }

  // Adds an entry. If its shard is full, the shard is first rebuilt with the entries for which
  // `keep` holds.
  template <typename Keep>
  void Insert(const Entry& entry, Keep keep) {
    Shard& shard = shards_[ShardOf(entry.hash)];
    if (shard.capacity == 0) shard = Make(FirstCapacity(ShardOf(entry.hash)), kSlackMin);
    if (shard.used >= shard.limit) Rebuild(shard, keep);
    while (!Place(shard, entry)) Grow(shard);
    ++shard.used;
    ++size_;
  }

  // Rebuilds every shard with the entries for which `keep` holds.
  template <typename Keep>
  void Sweep(Keep keep) {
    for (size_t s = 0; s < kShards; ++s)
      if (shards_[s].capacity != 0) Rebuild(shards_[s], keep);
  }

  // Visits the entries in ascending order of their hashes. `visit` may change anything but the
  // hash.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t s = 0; s < kShards; ++s) {
      const Shard& shard = shards_[s];
      for (uint32_t i = 0; i < shard.slots(); ++i)
        if (shard.entries[i].fact != kEmpty) visit(shard.entries[i]);
    }
  }

  int64_t size() const { return size_; }

 private:
  // Behind the `capacity` slots lie `slack` more for entries that are pushed over the end, and one
  // that is always empty and ends every search. The slack doubles when it is used up: whatever the
  // hashes, every entry finds a slot.
  static constexpr uint32_t kSlackMin = 31;
  // A shard is full when 15 of 20 slots are used. A rebuilt one has 25 slots for 15 entries, so
  // that a quarter more entries fit before it is full again.
  static constexpr uint64_t kFull = 15, kRoom = 25;
  struct Free {
    size_t bytes;
    void operator()(Entry* entries) const { FreeLarge(entries, bytes); }
  };
  struct Shard {
    std::unique_ptr<Entry[], Free> entries;
    uint32_t capacity = 0, slack = 0, used = 0, limit = 0;
    uint32_t slots() const { return capacity == 0 ? 0 : capacity + slack; }
  };

  static size_t ShardOf(uint64_t hash) { return hash >> (64 - kShardBits); }
  // The slot where a hash falls in its shard. It never decreases as the hash grows, which keeps a
  // shard sorted.
  static uint32_t Home(const Shard& shard, uint64_t hash) {
    const uint64_t low = (hash << kShardBits) >> 32;
    return static_cast<uint32_t>((low * shard.capacity) >> 32);
  }
  // First capacities spread evenly from c to 5/4 c. Shards receive the same number of ids, so they
  // become full one after another and not all at once.
  static uint64_t FirstCapacity(size_t shard) { return 128 + shard; }
  static Shard Make(uint64_t capacity, uint32_t slack) {
    const size_t slots = capacity + slack + 1;
    CHECK(slots < UINT32_MAX);
    Shard shard;
    shard.capacity = static_cast<uint32_t>(capacity);
    shard.slack = slack;
    shard.limit = static_cast<uint32_t>(capacity * kFull / 20);
    const size_t bytes = slots * sizeof(Entry);
    shard.entries = {static_cast<Entry*>(AllocateLarge(bytes)), Free{bytes}};
    std::uninitialized_fill_n(shard.entries.get(), slots, Entry{});
    return shard;
  }
  // Inserts in order; false if the slack behind the end is used up.
  static bool Place(Shard& shard, const Entry& entry) {
    if (shard.capacity == 0) return false;
    Entry* const end = &shard.entries[shard.slots()];
    Entry* at = &shard.entries[Home(shard, entry.hash)];
    while (at->fact != kEmpty && at->hash <= entry.hash) ++at;
    Entry* free = at;
    while (free != end && free->fact != kEmpty) ++free;
    if (free == end) return false;
    for (; free != at; --free) *free = *(free - 1);
    *at = entry;
    return true;
  }
  // Moves all entries into a new shard of `capacity` slots with at least `slack` slots behind them.
  static void MoveInto(Shard& shard, uint64_t capacity, uint32_t slack = kSlackMin) {
    for (;; slack = slack * 2 + 1) {
      Shard bigger = Make(capacity, slack);
      bigger.used = shard.used;
      bool placed = true;
      uint32_t next = 0;  // entries arrive in order: the next one lies behind this slot
      for (uint32_t i = 0; placed && i < shard.slots(); ++i) {
        const Entry& entry = shard.entries[i];
        if (entry.fact == kEmpty) continue;
        const uint32_t home = Home(bigger, entry.hash);
        const uint32_t at = home > next ? home : next;
        placed = at < bigger.slots();
        if (placed) bigger.entries[at] = entry;
        next = at + 1;
      }
      if (!placed) continue;
      shard = std::move(bigger);
      return;
    }
  }
  static void Grow(Shard& shard) {
    const uint32_t slack = shard.slack == 0 ? kSlackMin : shard.slack * 2 + 1;
    MoveInto(shard, std::max<uint64_t>(shard.capacity, 8), slack);
  }

  template <typename Keep>
  void Rebuild(Shard& shard, Keep keep) {
    uint32_t live = 0;
    for (uint32_t i = 0; i < shard.slots(); ++i) {
      Entry& entry = shard.entries[i];
      if (entry.fact == kEmpty) continue;
      if (keep(entry)) {
        ++live;
      } else {
        entry.fact = kEmpty;
      }
    }
    size_ -= shard.used - live;
    shard.used = live;
    // A quarter more than the live entries need: the new shard is 0.6 full and reaches 0.75 before
    // the next rebuild.
    MoveInto(shard, uint64_t{live} * kRoom / kFull + 8);
  }

  std::unique_ptr<Shard[]> shards_;
  int64_t size_ = 0;
};

}  // namespace sightline
