// CheckpointStore: the port where a task's state survives: checkpoints, and the spilled runs that
// they name. Entries are numbered by epochs, each put by at most one owner.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
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

// Of a spilled run (engine/spilled_run.h): the claim of the owner that put it and a number that
// this owner gives once. So no two owners, nor two lives of one, ever mean different bytes by it.
struct RunId {
  Epoch owner;
  int64_t number = 0;
  friend auto operator<=>(const RunId&, const RunId&) = default;
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

  // Puts a run, which never changes. Durable when it returns kOk. Of any other answer the outcome
  // is unknown, and the number is spent: the task tries again with the next one. What is taken is
  // never overwritten: kRetry.
  virtual Status PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) = 0;
  // kStop, naming the place, if it is damaged or not there.
  virtual Result<std::string> ReadRun(const SourcePartition& partition, RunId id) = 0;
  // Removes what owners up to `newest` have put and `kept` does not have: what no checkpoint names
  // any more, and what crashes and zombies have left. Nothing, and kRebuild, unless `newest` is
  // still the newest entry: else the caller is a zombie, and what it believes to be garbage may be
  // named by a checkpoint that it has not seen. An owner that claims after this look loads the
  // checkpoint whose runs the caller keeps. What it cannot remove is removed by a later call.
  virtual Status RemoveRuns(const SourcePartition& partition, Epoch newest,
                            std::span<const RunId> kept) = 0;
};

}  // namespace sightline
