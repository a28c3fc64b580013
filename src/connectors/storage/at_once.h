// ForEachAtOnce: the same action on many things, on a bounded number of threads. PutEachAtOnce is
// that of a storage that has no faster way to put many files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "connectors/storage/storage.h"

namespace sightline {

// Calls `action` for 0 to count - 1 on at most `threads_max` threads, this one included. The first
// failure is returned, and nothing is begun after it.
Status ForEachAtOnce(size_t count, size_t threads_max, const std::function<Status(size_t)>& action);

// Storage::PutFiles() by `put`, which puts one file, of at most `uploads_max` at once.
Result<PutOutcome> PutEachAtOnce(std::span<const NewFile> files, PutMode mode, int64_t uploads_max,
                                 const std::function<Result<PutOutcome>(const NewFile&)>& put);

}  // namespace sightline
