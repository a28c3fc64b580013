// AllocateLarge: memory for large tables with random access, backed by huge pages where the system
// has them.
#pragma once

#include <cstddef>

namespace sightline {

// From this size on, an allocation is a mapping of its own that begins on a huge-page boundary.
constexpr size_t kHugePageBytes = size_t{2} << 20;

// Returns uninitialised memory, which FreeLarge() frees; it must be given the same size. In 4 kB
// pages, a random look-up waits for the page table as long as for the data itself. Huge pages are
// only a request to the kernel, and the part that does not fill a huge page lies in small ones.
// Aborts when there is no memory.
void* AllocateLarge(size_t bytes);
void FreeLarge(void* memory, size_t bytes);

}  // namespace sightline
