// Bounds the memory that DuckDB takes from the system. Internal to this room.
//
// DuckDB's memory_limit covers its buffers and hash tables. Strings and lists that functions make
// are allocated beside them, without a bound, and a query cannot be interrupted within one call.
// Both come from the jemalloc inside libduckdb.so, which takes its memory from the system through
// hooks (jemalloc(3), "arena.<i>.extent_hooks"). Our hooks count it and refuse what exceeds the
// bound: the query then fails with "Out of Memory Error", and everything else goes on.
//
// Memory that DuckDB takes from operator new does not pass the hooks: the watchdog notices it.
#pragma once

#include <cstdint>

namespace sightline {

namespace duck {

// Sets the bound for all databases of the process, since they share the allocator; the newest call
// wins. False: this libduckdb.so has another allocator, and there is no bound. Thread-safe.
bool BoundMemory(int64_t bytes_max);

// What the allocator holds now, including freed memory that it keeps for a while; 0 without a
// bound.
int64_t MemoryBytes();

// Returns freed memory to the system when half of the bound is used. Thread-safe.
void ReleaseMemory();

}  // namespace duck

// The resident set of the whole process; 0 where the system does not report it.
int64_t ResidentBytes();

}  // namespace sightline
