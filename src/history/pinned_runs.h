// PinnedRuns: keeps spilled runs readable for queries while the engine removes them.
//
// A pin is a hard link beside the checkpoints, so nothing is copied. Pins need not be durable:
// after a restart the checkpoints name the runs again. A run that could not be read fails every
// query, so it is known until it can be read again or its pin is gone. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/spilled_run.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

class PinnedRun;

// The runs whose last read failed.
class UnreadableRuns {
 public:
  void Add(const std::shared_ptr<const PinnedRun>& run);
  void Remove(const PinnedRun* run);
  // Reads them again until one fails. Returns why; empty: all that are left can be read.
  std::string Trouble();

 private:
  std::mutex mutex_;
  std::map<const PinnedRun*, std::weak_ptr<const PinnedRun>> runs_;  // under mutex_
};

// One pinned run. Its destructor removes the link.
class PinnedRun : public std::enable_shared_from_this<PinnedRun> {
 public:
  PinnedRun(std::filesystem::path path, SourcePartition partition, SpilledRun run,
            std::shared_ptr<UnreadableRuns> unreadable)
      : path_(std::move(path)),
        partition_(std::move(partition)),
        run_(std::move(run)),
        unreadable_(std::move(unreadable)) {}
  ~PinnedRun();
  PinnedRun(const PinnedRun&) = delete;
  PinnedRun& operator=(const PinnedRun&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const SourcePartition& partition() const { return partition_; }
  const SpilledRun& run() const { return run_; }
  Result<std::vector<Segment>> Read() const;

 private:
  const std::filesystem::path path_;
  const SourcePartition partition_;
  const SpilledRun run_;
  const std::shared_ptr<UnreadableRuns> unreadable_;  // shared: a query may outlive PinnedRuns
};

class PinnedRuns {
 public:
  // `checkpoints` is the folder in which CheckpointFiles keeps the runs. `dir` is the folder of the
  // pins; it must be on the same file system, and is emptied now.
  static Result<std::unique_ptr<PinnedRuns>> Open(const std::string& checkpoints, std::string dir);

  // The pin is shared, because states of the lake share what did not change, and a query keeps the
  // state with which it began. The last owner removes the pin.
  Result<std::shared_ptr<const PinnedRun>> Pin(const SourcePartition& partition,
                                               const SpilledRun& run);

  // Returns why queries cannot read a run. Empty: as far as is known, they can read all of them.
  std::string trouble() const { return unreadable_->Trouble(); }

 private:
  PinnedRuns(std::string checkpoints, std::string dir)
      : checkpoints_(std::move(checkpoints)), dir_(std::move(dir)) {}
  const std::filesystem::path checkpoints_, dir_;
  std::atomic<int64_t> pins_ = 0;
  const std::shared_ptr<UnreadableRuns> unreadable_ = std::make_shared<UnreadableRuns>();
};

}  // namespace sightline
