#include "base/large_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "base/check.h"

namespace sightline {
namespace {

constexpr size_t kPageBytes = 4096;

size_t Pages(size_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes; }

}  // namespace

void* AllocateLarge(size_t bytes) {
  if (bytes < kHugePageBytes) {
    void* const memory = std::malloc(bytes);
    CHECK(memory != nullptr);
    return memory;
  }
  // Map one huge page more than needed, so that a huge-page boundary lies inside the mapping. Then
  // return the parts before that boundary and behind the end.
  const size_t wanted = Pages(bytes), mapped = wanted + kHugePageBytes;
  void* const mapping =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(mapping != MAP_FAILED);
  char* const begin = static_cast<char*>(mapping);
  const size_t before = -reinterpret_cast<uintptr_t>(begin) % kHugePageBytes;
  if (before > 0) CHECK(munmap(begin, before) == 0);
  char* const memory = begin + before;
  if (before < kHugePageBytes) CHECK(munmap(memory + wanted, kHugePageBytes - before) == 0);
  madvise(memory, wanted, MADV_HUGEPAGE);
  return memory;
}

void FreeLarge(void* memory, size_t bytes) {
  if (bytes < kHugePageBytes) {
    std::free(memory);
  } else {
    CHECK(munmap(memory, Pages(bytes)) == 0);
  }
}

}  // namespace sightline
