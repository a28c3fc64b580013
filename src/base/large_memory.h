// AllocateLarge: memory for large tables with random access, in huge pages where the system has
// them.
#pragma once

#include <cstddef>

namespace sightline {

// From this size on whole huge pages are used: ask for multiples of them.
constexpr size_t kHugePageBytes = size_t{2} << 20;

// Uninitialised; freed by std::free. Aligned to a huge page when `bytes` is a multiple of one, else
// as malloc does. A look-up in 4 kB pages waits for the page table as long as for the data; that
// the system gives huge ones is only a wish. Aborts when there is no memory.
void* AllocateLarge(size_t bytes);

}  // namespace sightline
