// Wakeup: lets a coroutine wait until another thread wakes it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <mutex>

namespace sightline {

// Belongs to its executor's thread; only the functions that Waker() returned may be called
// elsewhere.
class Wakeup {
 public:
  explicit Wakeup(const boost::asio::any_io_executor& executor);
  ~Wakeup();

  // Returns once Fire() has been called since the last Wait(); at once if it was already.
  boost::asio::awaitable<void> Wait();
  void Fire();
  // A function that calls Fire() on the executor's thread. It may be called on any thread at any
  // time, even after this and its io_context are gone, because the log answers when it can, not
  // while we listen.
  std::function<void()> Waker() const;
  // Makes the wakers do nothing from here on. When the io_context's thread has ended, any thread
  // may call this.
  void Close();

 private:
  // Shared, because the last waker may outlive the Wakeup. For the same reason it has no Asio
  // object.
  struct Line {
    std::mutex mutex;
    Wakeup* owner;  // null: closed. Guarded by mutex; only the owner's thread writes it
  };
  const std::shared_ptr<Line> line_;
  boost::asio::steady_timer timer_;
  bool fired_ = false;
};

}  // namespace sightline
