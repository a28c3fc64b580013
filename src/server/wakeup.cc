#include "server/wakeup.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace sightline {

namespace asio = boost::asio;

Wakeup::Wakeup(const asio::any_io_executor& executor)
    : line_(std::make_shared<Line>()), timer_(executor) {
  line_->owner = this;
}

Wakeup::~Wakeup() { Close(); }

asio::awaitable<void> Wakeup::Wait() {
  while (!fired_) {
    timer_.expires_at(asio::steady_timer::time_point::max());
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  fired_ = false;
}

void Wakeup::Fire() {
  fired_ = true;
  timer_.cancel();
}

std::function<void()> Wakeup::Waker() const {
  return [line = line_] {
    const std::lock_guard lock(line->mutex);
    if (line->owner == nullptr) return;
    asio::post(line->owner->timer_.get_executor(), [line] {
      if (line->owner != nullptr) line->owner->Fire();
    });
  };
}

void Wakeup::Close() {
  const std::lock_guard lock(line_->mutex);
  line_->owner = nullptr;
}

}  // namespace sightline
