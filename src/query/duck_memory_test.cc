#include "query/duck_memory.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <thread>
#include <vector>

extern "C" {
__attribute__((weak)) void* duckdb_je_malloc(size_t bytes);
__attribute__((weak)) void duckdb_je_free(void* memory);
}

namespace sightline {
namespace {

constexpr size_t kBytes = 1 << 20;

// A thread of a query may end it and free what others allocated before it allocates anything.
TEST(DuckMemoryTest, ThreadsThatOnlyFree) {
  ASSERT_TRUE(duckdb_je_malloc != nullptr) << "this libduckdb.so has another allocator";
  ASSERT_TRUE(duck::BoundMemory(1LL << 30));
  std::vector<void*> blocks;
  for (int i = 0; i < 64; ++i) blocks.push_back(duckdb_je_malloc(kBytes));
  // Threads of earlier tests may give some of theirs back meanwhile.
  EXPECT_GE(duck::MemoryBytes(), static_cast<int64_t>(32 * kBytes));
  for (void* block : blocks) std::thread([block] { duckdb_je_free(block); }).join();
}

TEST(DuckMemoryTest, RefusesBeyondTheBound) {
  ASSERT_TRUE(duckdb_je_malloc != nullptr) << "this libduckdb.so has another allocator";
  ASSERT_TRUE(duck::BoundMemory(duck::MemoryBytes() + (64LL << 20)));
  EXPECT_EQ(duckdb_je_malloc(256 << 20), nullptr);
  void* const block = duckdb_je_malloc(kBytes);
  EXPECT_NE(block, nullptr);
  duckdb_je_free(block);
  ASSERT_TRUE(duck::BoundMemory(1LL << 30));
}

}  // namespace
}  // namespace sightline
