// AsyncAnswer: what a sink waits for from another thread, as a part of the sink's port.
//
// A sink whose writes run on another thread says kRetry until it has their answer. For each write
// its waker makes an answer, which the sink keeps and hands over with the write. Thread rule: once
// handed over, the answer belongs to the answering thread until Finish(), and from then on to the
// asking thread, which learns of it through TakeFinished(). So it needs no mutex.
//
// The answering thread may hold an answer for longer than the sink lives. Then nobody takes it, and
// the waker's destructor has seen to it that nobody is called.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/check.h"

namespace sightline {

template <typename T>
class AsyncAnswer;
// Shared between the one who asks and the one who answers, either of whom may be gone first.
template <typename T>
using AsyncAnswerPtr = std::shared_ptr<AsyncAnswer<T>>;

// Calls `on_answer`, which may be null, on the answering thread after each answer. It must be quick
// and must not touch the sink. The destructor and Silence() wait for a call that is under way, so
// they must not run inside one; after them there is none. Thread-safe but for the destructor.
class AnswerWaker {
 public:
  explicit AnswerWaker(std::function<void()> on_answer) : callback_(std::make_shared<Callback>()) {
    callback_->on_answer = std::move(on_answer);
  }
  ~AnswerWaker() { Silence(); }
  AnswerWaker(const AnswerWaker&) = delete;
  AnswerWaker& operator=(const AnswerWaker&) = delete;

  template <typename T>
  AsyncAnswerPtr<T> NewAnswer() const {
    return std::make_shared<AsyncAnswer<T>>(callback_);
  }
  // For news that are no answer.
  void Wake() const { callback_->Call(); }
  void Silence() const {
    const std::lock_guard lock(callback_->mutex);
    callback_->on_answer = nullptr;
  }

 private:
  template <typename T>
  friend class AsyncAnswer;
  // Shared with the answers, which may outlive the waker.
  struct Callback {
    void Call() {
      const std::lock_guard lock(mutex);
      if (on_answer) on_answer();
    }
    std::mutex mutex;
    std::function<void()> on_answer;  // under mutex; null once silenced
  };
  const std::shared_ptr<Callback> callback_;
};

template <typename T>
class AsyncAnswer {
 public:
  explicit AsyncAnswer(std::shared_ptr<AnswerWaker::Callback> callback)
      : callback_(std::move(callback)) {}

  // For the answering thread, until Finish().
  T& value() { return value_; }
  // Once; the value is not touched any more. Then wakes the asking thread.
  void Finish() {
    finished_.store(true, std::memory_order_release);
    callback_->Call();
  }

 private:
  template <typename U>
  friend std::optional<U> TakeFinished(AsyncAnswerPtr<U>& asked);
  template <typename U>
  friend bool HasFinished(const AsyncAnswerPtr<U>& asked);

  const std::shared_ptr<AnswerWaker::Callback> callback_;
  std::atomic<bool> finished_ = false;  // released by Finish(), acquired by TakeFinished()
  T value_{};
};

// For the asking thread: the answer if it is finished, and `asked` is null from then on. Nothing if
// it is still under way.
template <typename T>
std::optional<T> TakeFinished(AsyncAnswerPtr<T>& asked) {
  CHECK(asked != nullptr);
  if (!asked->finished_.load(std::memory_order_acquire)) return std::nullopt;
  return std::move(std::exchange(asked, nullptr)->value_);
}

// For the asking thread: true if TakeFinished() has an answer to take.
template <typename T>
bool HasFinished(const AsyncAnswerPtr<T>& asked) {
  return asked != nullptr && asked->finished_.load(std::memory_order_acquire);
}

}  // namespace sightline
