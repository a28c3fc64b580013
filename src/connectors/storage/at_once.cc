#include "connectors/storage/at_once.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace sightline {

Status ForEachAtOnce(size_t count, size_t threads_max,
                     const std::function<Status(size_t)>& action) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  Status first = Status::Ok();
  const auto work = [&] {
    for (size_t i; (i = next++) < count;) {
      Status status = action(i);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      if (first.ok()) first = std::move(status);
      next = count;
    }
  };
  std::vector<std::jthread> threads;
  for (size_t i = 1; i < std::min(count, threads_max); ++i) threads.emplace_back(work);
  work();
  threads.clear();
  return first;
}

}  // namespace sightline
