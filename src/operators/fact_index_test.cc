#include "operators/fact_index.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace sightline {
namespace {

// Few distinct hashes, so that most keys share theirs.
TEST(FactIndex, AsAMapAlsoWhenHashesAreEqual) {
  for (const uint32_t hashes : {1u, 40u, UINT32_MAX}) {
    std::mt19937 random(hashes);
    FactIndex index;
    std::vector<uint32_t> keys;  // by fact
    std::map<uint32_t, uint32_t> expected;
    for (int i = 0; i < 2'000; ++i) {
      const uint32_t key = random() % 700;
      const uint32_t hash = key * 2'654'435'761u % hashes;
      uint32_t& fact = index.At(hash, [&](uint32_t other) { return keys[other] == key; });
      const auto known = expected.find(key);
      ASSERT_EQ(fact, known == expected.end() ? FactIndex::kNone : known->second);
      if (fact == FactIndex::kNone || random() % 4 == 0) {
        fact = static_cast<uint32_t>(keys.size());
        keys.push_back(key);
        expected[key] = fact;
      }
      const uint32_t guess = index.Guess(hash);
      ASSERT_NE(guess, FactIndex::kNone);
      EXPECT_EQ(keys[guess] * 2'654'435'761u % hashes, hash);
    }
    index.Clear();
    EXPECT_EQ(index.Guess(0), FactIndex::kNone);
  }
}

}  // namespace
}  // namespace sightline
