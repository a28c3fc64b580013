// What DuckDB takes from the system, bounded. Seen by this room only.
//
// DuckDB's memory_limit is about its buffers and hash tables. Strings and lists that functions make
// are allocated beside them, without a bound, and a query cannot be interrupted inside of one call.
// Both come from the allocator inside of libduckdb.so, which is jemalloc: it takes its memory from
// the system through hooks (jemalloc(3), "arena.<i>.extent_hooks"). Ours count, and beyond the
// bound refuse: the query then fails with "Out of Memory Error", and everything else goes on.
//
// What DuckDB takes from operator new is not seen here: the guard refuses the functions that make
// large values of it in one step (sql_guard.cc), the watchdog sees the rest grow.
#pragma once

#include <cstdint>

namespace sightline {

namespace duck {

// Of all databases of the process, since the allocator is one; the newest call counts. False: this
// libduckdb.so has no such allocator, and there is no bound. Thread-safe.
bool BoundMemory(int64_t bytes_max);

// Taken from the system now; 0 without a bound. What was freed is kept for a while.
int64_t MemoryBytes();

// Gives back what was freed, if there is so much of it that the bound comes near. Thread-safe.
void ReleaseMemory();

}  // namespace duck

// Of the whole process, as the system counts it; 0 where it does not tell.
int64_t ResidentBytes();

}  // namespace sightline
