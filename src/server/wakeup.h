// Wakeup: lets a coroutine of one thread wait for a word from any other thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <mutex>

namespace sightline {

// Lives and dies on its executor's thread; only what Waker() returned may be called on others.
class Wakeup {
 public:
  explicit Wakeup(const boost::asio::any_io_executor& executor);
  ~Wakeup();

  // Returns when Fire() was called since the last Wait(), at once if it already was.
  boost::asio::awaitable<void> Wait();
  void Fire();
  // Fire() from any thread and at any time, also when this and its io_context are long gone: the
  // log answers when it can, not when we still listen.
  std::function<void()> Waker() const;
  // Wakers do nothing from here on. Once their io_context's thread is gone, from any thread.
  void Close();

 private:
  // shared_ptr because the last waker may be dropped after the Wakeup. No object of Asio is in it.
  struct Line {
    std::mutex mutex;
    Wakeup* owner;  // null: closed. Guarded by mutex; written on the owner's thread only
  };
  const std::shared_ptr<Line> line_;
  boost::asio::steady_timer timer_;
  bool fired_ = false;
};

}  // namespace sightline
