// CallPool: runs calls that block on threads of its own, so that connections' threads never wait.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace sightline {

struct CallPoolOptions {
  int threads = 1;
  size_t waiting_max = 1;
  int per_client_max = 1;  // calls of one client that run at the same time
};

// Calls begin in the order in which they came, but for those of a client that has its share: others
// overtake them. Thread-safe.
class CallPool {
 public:
  explicit CallPool(const CallPoolOptions& options);
  // Waits until all calls have run, also those that still wait. To end soon, interrupt them before.
  ~CallPool();

  struct Call {
    std::function<void()> run;
    std::string client;         // who asks
    std::stop_token abandoned;  // stopped before its turn: it never runs
  };
  // False if too many calls wait already. Abandoned ones do not count once the queue is full.
  bool Submit(Call call);
  size_t waiting() const;

 private:
  void Run();
  // Under mutex_. The next call that may run, or the end.
  std::deque<Call>::iterator Next();

  const CallPoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Under mutex_.
  std::deque<Call> waiting_;
  std::map<std::string, int> running_;  // calls, by client
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sightline
