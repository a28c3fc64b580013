#include "base/large_memory.h"

#include <sys/mman.h>

#include <cstdlib>

#include "base/check.h"

namespace sightline {

void* AllocateLarge(size_t bytes) {
  const bool huge = bytes > 0 && bytes % kHugePageBytes == 0;
  void* const memory = huge ? std::aligned_alloc(kHugePageBytes, bytes) : std::malloc(bytes);
  CHECK(memory != nullptr);
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

}  // namespace sightline
