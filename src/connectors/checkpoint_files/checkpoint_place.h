// CheckpointPlace: where a process keeps the checkpoints of its partitions, and the threads that
// wait for it.
//
// Each task has a thread of its own there, so a slow put holds up nobody but its own partition. A
// task that is thrown away leaves its thread behind, which ends after the call that is under way;
// what becomes of that call is unknown, as after a crash. The destructor breaks off what waits for
// a server, and joins the threads. Thread-safe but for the destructor.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/checkpoint_files/checkpoint_files.h"
#include "connectors/storage/open_storage.h"
#include "engine/store_worker.h"

namespace sightline {

// Checkpoints on a storage of their own, for those that are not a task. It is created with the
// first file. kStop: the URL cannot be right.
Result<CheckpointFiles> OpenCheckpointFiles(const std::string& url,
                                            const StorageOptions& options = {});

class CheckpointThread;

struct CheckpointPlaceOptions {
  std::string url;
  StorageOptions storage;  // its `stop` is not used
  // A folder of this machine, for large checkpoints until they are put. It is made now.
  std::string scratch;
};

class CheckpointPlace {
 public:
  // Nothing is asked of the storage yet. kStop: the URL cannot be right.
  static Result<std::unique_ptr<CheckpointPlace>> Open(const CheckpointPlaceOptions& options);
  ~CheckpointPlace();
  CheckpointPlace(const CheckpointPlace&) = delete;
  CheckpointPlace& operator=(const CheckpointPlace&) = delete;

  // Calls the settings' store, for the start of a process. `is_stopped` is asked meanwhile; once it
  // is true, what waits for a server is broken off, and the place is of no use any more.
  Status WithSettings(const std::function<bool()>& is_stopped,
                      const std::function<Status(SettingsStore&)>& call);
  // For one task, which the place must outlive. `on_answer` wakes it.
  std::unique_ptr<StoreWorker> OpenWorker(std::function<void()> on_answer);

 private:
  friend class CheckpointWorker;
  CheckpointPlace(std::string url, std::string scratch, std::stop_source stop,
                  std::shared_ptr<Storage> storage);
  void Retire(std::unique_ptr<CheckpointThread> thread);

  const std::string url_, scratch_;
  std::stop_source stop_;  // breaks off what waits for a server
  // Shared by all tasks, so that all of them hold one folder: a task that is built while another
  // folder lies at the path must not take that one.
  const std::shared_ptr<Storage> storage_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<CheckpointThread>> retired_;  // under mutex_
};

}  // namespace sightline
