#include "server/call_pool.h"

#include <utility>

namespace sightline {

CallPool::CallPool(int threads, size_t waiting_max) : waiting_max_(waiting_max) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

CallPool::~CallPool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool CallPool::Submit(std::function<void()> call, std::stop_token abandoned) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= waiting_max_)
      std::erase_if(waiting_, [](const Waiting& w) { return w.abandoned.stop_requested(); });
    if (ending_ || waiting_.size() >= waiting_max_) return false;
    waiting_.push_back({std::move(call), std::move(abandoned)});
  }
  changed_.notify_one();
  return true;
}

size_t CallPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

void CallPool::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    {
      const Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      if (!next.abandoned.stop_requested()) next.call();
    }
    lock.lock();
  }
}

}  // namespace sightline
