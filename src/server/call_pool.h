// CallPool: runs calls that block on threads of its own, so that connections' threads never wait.
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
  // Waits until all calls have run, also those that still wait. To end soon, interrupt them before.
  ~CallPool();

  // Queues `call`. False if too many calls wait already. A call that is `abandoned` before its turn
  // never runs, and no longer counts as waiting once the queue is full.
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
