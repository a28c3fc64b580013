// PinnedRuns: spilled runs that queries still read, whatever the engine removes meanwhile.
//
// A pin is a hard link beside the checkpoints: nothing is copied, and it is not durable - after a
// restart the checkpoints name the runs again. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/checkpoint_files/checkpoint_files.h"
#include "engine/spilled_run.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

class PinnedRun {
 public:
  PinnedRun(std::filesystem::path path, SourcePartition partition, SpilledRun run)
      : path_(std::move(path)), partition_(std::move(partition)), run_(std::move(run)) {}
  ~PinnedRun();
  PinnedRun(const PinnedRun&) = delete;
  PinnedRun& operator=(const PinnedRun&) = delete;

  const SourcePartition& partition() const { return partition_; }
  const SpilledRun& run() const { return run_; }
  Result<std::vector<Segment>> Read() const;

 private:
  const std::filesystem::path path_;
  const SourcePartition partition_;
  const SpilledRun run_;
};

class PinnedRuns {
 public:
  // `checkpoints`: where CheckpointFiles puts the runs. `dir`: of the pins, on the same file
  // system; emptied now.
  static Result<std::unique_ptr<PinnedRuns>> Open(const std::string& checkpoints, std::string dir);

  // Shared, because states of the lake share what did not change, and queries keep the state that
  // they began with; the last one takes the pin out.
  Result<std::shared_ptr<const PinnedRun>> Pin(const SourcePartition& partition,
                                               const SpilledRun& run);

 private:
  PinnedRuns(const std::string& checkpoints, std::string dir)
      : store_(checkpoints), dir_(std::move(dir)) {}
  const CheckpointFiles store_;
  const std::filesystem::path dir_;
  std::atomic<int64_t> pins_ = 0;
};

}  // namespace sightline
