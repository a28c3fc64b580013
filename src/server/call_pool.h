// CallPool: threads for answers that take a while, so that the threads of connections never wait.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace sightline {

// Thread-safe.
class CallPool {
 public:
  CallPool(int threads, size_t waiting_max);
  // Runs what is waiting to its end: interrupt it before.
  ~CallPool();

  // False if too many calls are waiting: nothing was taken. A call that is `abandoned` before its
  // turn is never made, and leaves its place to the next.
  bool Submit(std::function<void()> call, std::stop_token abandoned = {});
  size_t waiting() const;

 private:
  struct Waiting {
    std::function<void()> call;
    std::stop_token abandoned;
  };
  void Run();

  const size_t waiting_max_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sightline
