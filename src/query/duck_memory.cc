#include "query/duck_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>

// The interface of the jemalloc inside libduckdb.so. Weak symbols, because another build of the
// library may not have it.
extern "C" {
__attribute__((weak)) int duckdb_je_mallctl(const char* name, void* old, size_t* old_bytes,
                                            void* value, size_t value_bytes);
__attribute__((weak)) void* duckdb_je_malloc(size_t bytes);
}

namespace sightline {
namespace duck {
namespace {

// extent_hooks_t of jemalloc 5. Members that we only pass on have no type here. A hook that returns
// true has failed.
struct ExtentHooks {
  void* (*alloc)(ExtentHooks*, void* address, size_t bytes, size_t alignment, bool* zero,
                 bool* commit, unsigned arena);
  bool (*dalloc)(ExtentHooks*, void* address, size_t bytes, bool committed, unsigned arena);
  void* destroy;
  bool (*commit)(ExtentHooks*, void* address, size_t bytes, size_t offset, size_t length,
                 unsigned arena);
  bool (*decommit)(ExtentHooks*, void* address, size_t bytes, size_t offset, size_t length,
                   unsigned arena);
  void *purge_lazy, *purge_forced, *split;
  bool (*merge)(ExtentHooks*, void* address_a, size_t bytes_a, void* address_b, size_t bytes_b,
                bool committed, unsigned arena);
};

// Globals that are never destroyed: the allocator uses them until the process ends.
ExtentHooks* g_default = nullptr;
ExtentHooks g_ours{};
std::atomic<int64_t> g_bytes = 0;
std::atomic<int64_t> g_bytes_max = INT64_MAX;

bool Take(size_t bytes) {
  const auto size = static_cast<int64_t>(bytes);
  if (g_bytes.fetch_add(size) + size <= g_bytes_max) return true;
  g_bytes -= size;
  return false;
}
void Give(size_t bytes) { g_bytes -= static_cast<int64_t>(bytes); }

// jemalloc may ask for address space only (commit is false). That is counted by Commit().
void* Alloc(ExtentHooks*, void* address, size_t bytes, size_t alignment, bool* zero, bool* commit,
            unsigned arena) {
  const bool committed = *commit;
  if (committed && !Take(bytes)) return nullptr;
  void* const memory = g_default->alloc(g_default, address, bytes, alignment, zero, commit, arena);
  if (memory == nullptr && committed) Give(bytes);
  *commit = committed;
  return memory;
}

// Refuses, so that the address space stays mapped; Decommit() returns its memory. (When this called
// munmap(), the allocator of DuckDB 1.5.6 crashed.)
bool Dalloc(ExtentHooks*, void*, size_t, bool, unsigned) { return true; }

bool Commit(ExtentHooks*, void*, size_t, size_t, size_t length, unsigned) { return !Take(length); }

bool Decommit(ExtentHooks*, void* address, size_t, size_t offset, size_t length, unsigned) {
  if (madvise(static_cast<char*>(address) + offset, length, MADV_DONTNEED) != 0) return true;
  Give(length);
  return false;
}

// Adjacent extents may always be merged, as the default hook on Linux decides. The default hook is
// not called: it sets up the cache of a thread that has none yet, which takes a lock that a thread
// whose first allocator call is a free already holds, so that the thread deadlocks with itself.
bool Merge(ExtentHooks*, void*, size_t, void*, size_t, bool, unsigned) { return false; }

template <typename T>
bool Get(const char* name, T* value) {
  size_t bytes = sizeof *value;
  return duckdb_je_mallctl(name, static_cast<void*>(value), &bytes, nullptr, 0) == 0;
}
template <typename T>
bool Set(const std::string& name, T value) {
  return duckdb_je_mallctl(name.c_str(), nullptr, nullptr, static_cast<void*>(&value),
                           sizeof value) == 0;
}

// 4096 is MALLCTL_ARENAS_ALL.
void Purge() { duckdb_je_mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0); }

bool Install() {
  if (duckdb_je_mallctl == nullptr || duckdb_je_malloc == nullptr) return false;
  // jemalloc creates the arena for oversize values with the first of them, so one is allocated
  // here, before the hooks are installed. It is never touched, so it costs address space and no
  // memory. It is never freed: the arena would hand it out again without asking the hooks.
  size_t largest = 0;
  if (!Get("opt.oversize_threshold", &largest)) return false;
  if (duckdb_je_malloc(largest + 1) == nullptr) return false;
  unsigned arenas = 0;
  if (!Get("arenas.narenas", &arenas)) return false;
  if (!Get("arena.0.extent_hooks", &g_default) || g_default == nullptr) return false;
  g_ours = *g_default;
  g_ours.alloc = Alloc;
  g_ours.dalloc = Dalloc;
  g_ours.commit = Commit;
  g_ours.decommit = Decommit;
  g_ours.merge = Merge;
  bool all = true;
  for (unsigned i = 0; i < arenas; ++i)
    all = Set(fmt::format("arena.{}.extent_hooks", i), &g_ours) && all;
  return all;
}

bool Installed() {
  static const bool installed = Install();
  return installed;
}

}  // namespace

bool BoundMemory(int64_t bytes_max) {
  if (!Installed()) return false;
  g_bytes_max = bytes_max;
  return true;
}

int64_t MemoryBytes() { return g_bytes; }

void ReleaseMemory() {
  if (g_bytes > g_bytes_max / 2) Purge();
}

}  // namespace duck

int64_t ResidentBytes() {
#ifdef SIGHTLINE_SANITIZED
  return 0;  // a sanitizer's own memory would count as the query's
#endif
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  int64_t pages = 0, resident = 0;
  const bool read = std::fscanf(file, "%ld %ld", &pages, &resident) == 2;
  std::fclose(file);
  return read ? resident * sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace sightline
