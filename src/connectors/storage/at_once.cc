#include "connectors/storage/at_once.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

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

Result<PutOutcome> PutEachAtOnce(std::span<const NewFile> files, PutMode mode, int64_t uploads_max,
                                 const std::function<Result<PutOutcome>(const NewFile&)>& put) {
  if (files.size() == 1) return put(files[0]);
  CHECK(mode == PutMode::kReplace);
  RETURN_IF_ERROR(ForEachAtOnce(files.size(), static_cast<size_t>(uploads_max),
                                [&](size_t i) { return put(files[i]).status(); }));
  return PutOutcome::kWritten;
}

}  // namespace sightline
