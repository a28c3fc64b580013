#include "server/call_pool.h"

#include <algorithm>
#include <utility>

namespace sightline {

CallPool::CallPool(const CallPoolOptions& options) : options_(options) {
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
}

CallPool::~CallPool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool CallPool::Submit(Call call) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= options_.waiting_max)
      std::erase_if(waiting_, [](const Call& w) { return w.abandoned.stop_requested(); });
    if (ending_ || waiting_.size() >= options_.waiting_max) return false;
    waiting_.push_back(std::move(call));
  }
  changed_.notify_one();
  return true;
}

size_t CallPool::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

std::deque<CallPool::Call>::iterator CallPool::Next() {
  return std::ranges::find_if(waiting_, [this](const Call& call) {
    const auto running = running_.find(call.client);
    return ending_ || running == running_.end() || running->second < options_.per_client_max;
  });
}

void CallPool::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || Next() != waiting_.end(); });
    const auto next = Next();
    if (next == waiting_.end()) return;
    Call call = std::move(*next);
    waiting_.erase(next);
    ++running_[call.client];
    lock.unlock();
    if (!call.abandoned.stop_requested()) call.run();
    call.run = nullptr;  // destroys what it holds, without the lock
    lock.lock();
    if (--running_[call.client] == 0) running_.erase(call.client);
    changed_.notify_all();  // its client may have more
  }
}

}  // namespace sightline
