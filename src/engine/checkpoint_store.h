// CheckpointStore: the port in which a task's state survives: its checkpoints, and the spilled runs
// that they name. Entries are numbered by epochs. Each epoch is put by at most one owner.
//
// Its calls wait for disks and networks. A task asks it through a StoreWorker.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/byte_spool.h"
#include "base/status.h"
#include "model/types.h"

namespace sightline {

// Receives the bytes of a checkpoint in pieces, so that a large state is never in memory twice.
using ByteSink = std::function<void(std::string_view)>;
// Writes a part of a checkpoint's bytes.
using CheckpointWriter = std::function<void(const ByteSink&)>;

// The epoch of the newest entry (a claim or a checkpoint; {0} if there is none), and the newest
// checkpoint.
struct StoredCheckpoint {
  Epoch newest;
  std::optional<std::string> checkpoint;
};

// The id of a spilled run (engine/spilled_run.h): the claim of the owner that put it, and a number
// that this owner uses once. So neither two owners nor two lives of one owner use one id for
// different bytes.
struct RunId {
  Epoch owner;
  int64_t number = 0;
  friend auto operator<=>(const RunId&, const RunId&) = default;
};

// An instance belongs to one task and is discarded with it. It is used by one thread at a time.
class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;
  virtual Result<StoredCheckpoint> Latest(const SourcePartition& partition) = 0;
  // Puts the entry of `epoch`, durably, if there is none. Without a checkpoint (null) it is a
  // claim. kRebuild if the epoch is taken, because somebody else owns the partition, or if the
  // outcome is unknown. Older checkpoints may be deleted once a newer one is durable; the newest
  // entry is never deleted.
  virtual Status PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                             const ByteSpool* checkpoint) = 0;

  // Puts a run, durably; runs never change. After any answer but kOk the outcome is unknown and the
  // number is spent: the task tries again with the next number. An existing run is never
  // overwritten (kRetry).
  virtual Status PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) = 0;
  // Reads a run. kStop, naming the place, if it is damaged or missing.
  virtual Result<std::string> ReadRun(const SourcePartition& partition, RunId id) = 0;
  // Removes the runs that owners up to `newest` have put and that are not in `kept`: those that no
  // checkpoint names any more, and those that crashes and zombies have left. Removes nothing and
  // says kRebuild unless `newest` is still the newest entry. Otherwise the caller is a zombie, and
  // what it takes for garbage may be named by a checkpoint that it has not seen. An owner that
  // claims after this check loads the checkpoint whose runs the caller keeps. What cannot be
  // removed now is removed by a later call.
  virtual Status RemoveRuns(const SourcePartition& partition, Epoch newest,
                            std::span<const RunId> kept) = 0;
};

}  // namespace sightline
