// AllocateLarge: memory for large tables with random access, in huge pages where the system has
// them.
#pragma once

#include <cstddef>

namespace sightline {

// From this size on an allocation is a mapping of its own that begins on a huge page.
constexpr size_t kHugePageBytes = size_t{2} << 20;

// Uninitialised; freed by FreeLarge with the same size. A look-up in 4 kB pages waits for the page
// table as long as for the data; that the system gives huge ones is only a wish, and what does not
// fill one is in small ones. Aborts when there is no memory.
void* AllocateLarge(size_t bytes);
void FreeLarge(void* memory, size_t bytes);

}  // namespace sightline
