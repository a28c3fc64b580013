#include "connectors/checkpoint_files/checkpoint_place.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

namespace sightline {
namespace {

constexpr std::chrono::milliseconds kLookForStop{10};

}  // namespace

Result<CheckpointFiles> OpenCheckpointFiles(const std::string& url, const StorageOptions& options) {
  Result<std::unique_ptr<Storage>> storage = OpenStorage(url, options);
  if (!storage.ok()) return storage.status();
  return CheckpointFiles(std::move(storage).value(), AbsoluteStorageUrl(url));
}

// A thread that makes the calls of one task, one after the other.
class CheckpointThread {
 public:
  using Job = std::function<void(CheckpointStore&)>;

  explicit CheckpointThread(CheckpointFiles store)
      : store_(std::move(store)), thread_([this] { Run(); }) {}
  // Waits for the call that is under way.
  ~CheckpointThread() {
    Close();
    thread_.join();
  }
  void Submit(Job job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
  }
  // The jobs that have not begun never will.
  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_one();
  }
  bool ended() const { return ended_; }

 private:
  void Run() {
    while (const std::optional<Job> job = Next()) (*job)(store_);
    ended_ = true;
  }
  std::optional<Job> Next() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
    if (closing_) return std::nullopt;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }

  CheckpointFiles store_;  // used by the thread only
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;  // under mutex_; at most one of each duty of the task
  bool closing_ = false;  // under mutex_
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

class CheckpointWorker final : public StoreWorker {
 public:
  CheckpointWorker(CheckpointPlace* place, std::function<void()> on_answer)
      : StoreWorker(std::move(on_answer)),
        place_(*place),
        thread_(std::make_unique<CheckpointThread>(CheckpointFiles(place->storage_, place->url_))) {
  }
  ~CheckpointWorker() override {
    Silence();
    place_.Retire(std::move(thread_));
  }
  std::unique_ptr<ByteSpool> NewSpool() override {
    return std::make_unique<ByteSpool>(place_.scratch_);
  }

 private:
  void Submit(Job job) override { thread_->Submit(std::move(job)); }

  CheckpointPlace& place_;
  std::unique_ptr<CheckpointThread> thread_;
};

Result<std::unique_ptr<CheckpointPlace>> CheckpointPlace::Open(
    const CheckpointPlaceOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(options.scratch, error);
  if (error)
    return Status::Stop(
        fmt::format("cannot make the folder '{}': {}", options.scratch, error.message()));
  const std::stop_source stop;
  StorageOptions storage_options = options.storage;
  storage_options.stop = stop.get_token();
  Result<std::unique_ptr<Storage>> storage = OpenStorage(options.url, storage_options);
  if (!storage.ok()) return storage.status();
  return std::unique_ptr<CheckpointPlace>(new CheckpointPlace(
      AbsoluteStorageUrl(options.url), options.scratch, stop, std::move(storage).value()));
}

CheckpointPlace::CheckpointPlace(std::string url, std::string scratch, std::stop_source stop,
                                 std::shared_ptr<Storage> storage)
    : url_(std::move(url)),
      scratch_(std::move(scratch)),
      stop_(std::move(stop)),
      storage_(std::move(storage)) {}

CheckpointPlace::~CheckpointPlace() {
  stop_.request_stop();
  for (const auto& thread : retired_) thread->Close();
}

Status CheckpointPlace::WithSettings(const std::function<bool()>& is_stopped,
                                     const std::function<Status(SettingsStore&)>& call) {
  // A stop that comes while the call waits is seen by this thread only.
  std::stop_source stop = stop_;
  const std::jthread watch([&is_stopped, &stop](const std::stop_token& done) {
    while (!done.stop_requested() && !is_stopped()) std::this_thread::sleep_for(kLookForStop);
    if (!done.stop_requested()) stop.request_stop();
  });
  CheckpointFiles store(storage_, url_);
  return call(store);
}

std::unique_ptr<StoreWorker> CheckpointPlace::OpenWorker(std::function<void()> on_answer) {
  return std::make_unique<CheckpointWorker>(this, std::move(on_answer));
}

void CheckpointPlace::Retire(std::unique_ptr<CheckpointThread> thread) {
  thread->Close();
  const std::lock_guard lock(mutex_);
  // Joins those that have ended meanwhile, so that they do not pile up.
  std::erase_if(retired_, [](const auto& old) { return old->ended(); });
  retired_.push_back(std::move(thread));
}

}  // namespace sightline
