// CallPool: threads for answers that take a while, so that the threads of connections never wait.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace sightline {

// Thread-safe.
class CallPool {
 public:
  CallPool(int threads, size_t waiting_max);
  // Runs what is waiting to its end: interrupt it before.
  ~CallPool();

  // False if too many calls are waiting: nothing was taken.
  bool Submit(std::function<void()> call);

 private:
  void Run();

  const size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sightline
