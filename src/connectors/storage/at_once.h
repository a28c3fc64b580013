// ForEachAtOnce: the same action on many things, on a bounded number of threads.
#pragma once

#include <cstddef>
#include <functional>

#include "base/status.h"

namespace sightline {

// Calls `action` for 0 to count - 1 on at most `threads_max` threads, this one included. The first
// failure is returned, and nothing is begun after it.
Status ForEachAtOnce(size_t count, size_t threads_max, const std::function<Status(size_t)>& action);

}  // namespace sightline
