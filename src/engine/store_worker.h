// StoreWorker: the port through which a task asks its CheckpointStore without waiting for it. A
// store waits for disks and networks; Step() must not.
//
// An instance belongs to one task, is used by the thread that steps the task, and is discarded with
// it. Its calls run one after the other, in the order in which they were asked, on whatever thread.
// The destructor does not wait for a call that is under way: what becomes of that is unknown, as
// after a crash.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "base/byte_spool.h"
#include "engine/async_answer.h"
#include "engine/checkpoint_store.h"

namespace sightline {

// The answer to a call that is under way. Null: nothing was asked. Discarding it discards only the
// answer.
template <typename T>
using Asked = AsyncAnswerPtr<std::optional<T>>;

class StoreWorker {
 public:
  // `on_answer`, which may be null, is called on the answering thread after each answer
  // (AnswerWaker).
  explicit StoreWorker(std::function<void()> on_answer) : waker_(std::move(on_answer)) {}
  virtual ~StoreWorker() = default;
  StoreWorker(const StoreWorker&) = delete;
  StoreWorker& operator=(const StoreWorker&) = delete;

  // `call` must not touch the task, which may be gone by then.
  template <typename T>
  Asked<T> Ask(std::function<T(CheckpointStore&)> call) {
    Asked<T> asked = waker_.NewAnswer<std::optional<T>>();
    Submit([asked, call = std::move(call)](CheckpointStore& store) {
      asked->value().emplace(call(store));
      asked->Finish();
    });
    return asked;
  }
  // For the bytes of a checkpoint, from the Step() that writes them until they are put.
  virtual std::unique_ptr<ByteSpool> NewSpool() { return std::make_unique<ByteSpool>(); }

 protected:
  using Job = std::function<void(CheckpointStore&)>;
  virtual void Submit(Job job) = 0;
  // From here on nobody is woken. A worker whose jobs outlive it calls it in its destructor.
  void Silence() const { waker_.Silence(); }

 private:
  const AnswerWaker waker_;
};

// The answer, if it is there; `asked` is null from then on. Nothing if it is still under way.
template <typename T>
std::optional<T> TakeAnswer(Asked<T>& asked) {
  std::optional<std::optional<T>> finished = TakeFinished(asked);
  return finished ? std::move(*finished) : std::nullopt;
}

// For a store that never waits: each answer is there at once.
class StoreAtOnce final : public StoreWorker {
 public:
  explicit StoreAtOnce(std::unique_ptr<CheckpointStore> store)
      : StoreWorker(nullptr), store_(std::move(store)) {}

 private:
  void Submit(Job job) override { job(*store_); }

  const std::unique_ptr<CheckpointStore> store_;
};

}  // namespace sightline
