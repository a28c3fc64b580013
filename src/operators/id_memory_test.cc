#include "operators/id_memory.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace sightline {
namespace {

constexpr auto kAny = [](const IdMemory::Entry&) { return true; };

TEST(IdMemory, HoldsWhatWasInsertedAndNothingElse) {
  IdMemory memory;
  for (uint64_t id = 0; id < 200'000; ++id)
    memory.Insert({.hash = HashId(id), .fact = static_cast<uint32_t>(id)}, kAny);
  EXPECT_EQ(memory.size(), 200'000);
  for (uint64_t id = 0; id < 200'000; ++id) {
    const IdMemory::Entry* entry = memory.Find(HashId(id), kAny);
    ASSERT_NE(entry, nullptr) << id;
    ASSERT_EQ(entry->fact, id);
    ASSERT_EQ(memory.Find(HashId(id + 200'000), kAny), nullptr);
  }
}

TEST(IdMemory, HashesThatCrowdOnePlaceStillFit) {
  IdMemory memory;
  for (uint64_t i = 0; i < 3'000; ++i) {
    memory.Insert({.hash = UINT64_MAX - i, .fact = 1}, kAny);
    memory.Insert({.hash = i, .fact = 2}, kAny);
  }
  for (uint64_t i = 0; i < 3'000; ++i) {
    ASSERT_NE(memory.Find(UINT64_MAX - i, kAny), nullptr);
    ASSERT_NE(memory.Find(i, kAny), nullptr);
  }
  EXPECT_EQ(memory.size(), 6'000);
}

TEST(IdMemory, RebuildsDropWhatNobodyWants) {
  IdMemory memory;
  for (uint64_t id = 0; id < 1'000'000; ++id)
    memory.Insert({.hash = HashId(id), .fact = 0, .newest = static_cast<uint32_t>(id)},
                  [&](const IdMemory::Entry& e) { return e.newest + 50'000 > id; });
  EXPECT_LT(memory.size(), 100'000);
  for (uint64_t id = 950'001; id < 1'000'000; ++id)
    ASSERT_NE(memory.Find(HashId(id), kAny), nullptr);
}

TEST(IdMemory, WhatComesInOrderIsQuickAfterReserve) {
  IdMemory memory;
  constexpr uint64_t kIds = 2'000'000;  // without Reserve() this takes minutes
  memory.Reserve(kIds);
  for (uint64_t i = 0; i < kIds; ++i)
    memory.Insert({.hash = i * (UINT64_MAX / kIds), .fact = 1}, kAny);
  EXPECT_EQ(memory.size(), static_cast<int64_t>(kIds));
  EXPECT_NE(memory.Find(UINT64_MAX / kIds, kAny), nullptr);
}

TEST(IdMemory, EntriesOfOneHashAreToldApartByWhatTheySay) {
  IdMemory memory;
  for (uint32_t fact = 0; fact < 40; ++fact) memory.Insert({.hash = 77, .fact = fact}, kAny);
  for (uint32_t fact = 0; fact < 40; ++fact)
    ASSERT_EQ(memory.Find(77, [&](const IdMemory::Entry& e) { return e.fact == fact; })->fact,
              fact);
}

TEST(IdMemory, ForEachGoesInTheOrderOfHashes) {
  IdMemory memory;
  std::mt19937_64 random(1);
  std::set<uint64_t> hashes;
  for (int i = 0; i < 10'000; ++i)
    if (const uint64_t hash = random(); hashes.insert(hash).second)
      memory.Insert({.hash = hash, .fact = 1}, kAny);
  auto expected = hashes.begin();
  memory.ForEach([&](const IdMemory::Entry& e) { ASSERT_EQ(e.hash, *expected++); });
  EXPECT_EQ(expected, hashes.end());
}

}  // namespace
}  // namespace sightline
