// CheckpointStore: the port where a task's state survives. Entries are numbered by epochs, each put
// by at most one owner.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

// Takes the bytes of a checkpoint in pieces, so that a large state is never in memory twice.
using ByteSink = std::function<void(std::string_view)>;
// Writes a checkpoint's bytes; called at most once per PutIfAbsent, before it returns.
using CheckpointWriter = std::function<void(const ByteSink&)>;

// The newest entry (claim or checkpoint; {0} if there is none) and the newest checkpoint.
struct StoredCheckpoint {
  Epoch newest;
  std::optional<std::string> checkpoint;
};

// An instance belongs to one task and is thrown away with it.
class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;
  virtual Result<StoredCheckpoint> Latest(const SourcePartition& partition) = 0;
  // A null writer puts a claim: an entry without a checkpoint. kRebuild when the epoch is taken:
  // somebody else owns this (or the outcome is unknown). Older checkpoints may be deleted once a
  // newer one is durable; the newest entry never is. Durable when it returns kOk.
  virtual Status PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                             const CheckpointWriter* writer) = 0;
};

}  // namespace sightline
