// LakeView: what queries see - the lake at one version and what the engine has not committed there.
//
// Fed by the tasks through PendingSink (every sealed segment, at once) and by the lake's writers
// (every commit). A reader takes both at one moment, so that its sums never dip: a segment leaves
// `pending` in the same moment in which the version that has it becomes current.
//
// What is pending for long is not kept a second time: the view merges its segments where the task's
// list does - the lake is never cut elsewhere - and what the task has spilled is read from its
// runs, one at a time, by the queries that need it. So its memory has the bound of the task's.
// Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "connectors/lake/snapshot.h"
#include "engine/sink.h"
#include "query/lake_source.h"

namespace sightline {

class PinnedRun;
class PinnedRuns;
struct SpilledRun;

class LakeView final : public LakeSource {
 public:
  // `root`: the lake's folder, absolute. `window_size`: of the rows. `runs` outlives it; null: what
  // is spilled stays in memory here.
  LakeView(std::string root, Millis window_size, PinnedRuns* runs = nullptr);

  // The newest versions of the two tables. A pointer that is not newer changes nothing.
  void SetCounts(const lake::SnapshotPtr& snapshot);
  void SetLedger(const lake::SnapshotPtr& snapshot);
  void SetLocations(std::vector<LocationEntry> locations);
  // Queries wait for the tasks to come to where the screen was loaded: `partition` has to reach
  // `offset` first. Otherwise sums would dip over a restart.
  void Expect(const SourcePartition& partition, Offset offset);

  // For PendingSink.
  Offset Committed(const SourcePartition& partition) const;
  bool Apply(const SourcePartition& partition, std::span<const Segment> segments);
  // A task has loaded its list. What an earlier one gave may be cut differently by this one, so it
  // goes, and queries wait until as much is there again. Of the list the view takes the runs.
  void Begin(const SourcePartition& partition, const SealedList& list);
  // Its list has fewer boundaries or more runs.
  void Follow(const SourcePartition& partition, const SealedList& list);

  // kRetry: a partition has not yet come to what was expected of it.
  Result<std::shared_ptr<const LakeState>> Current() override;
  int64_t pending_rows() const;

 private:
  struct Table {
    lake::SnapshotPtr snapshot;
    FileList files;
  };
  struct Pending {
    std::vector<std::shared_ptr<const PinnedRun>> runs;  // then
    std::vector<Segment> segments;                       // contiguous
    Offset next = kNoneCommitted;  // everything before it came here; kNoneCommitted: nothing yet
  };

  void Set(Table& table, std::string_view name, const lake::SnapshotPtr& snapshot);
  static Offset OffsetIn(const Table& table, std::string_view name,
                         const SourcePartition& partition);
  Offset CommittedInBoth(const SourcePartition& partition) const;
  void DropCommitted();
  bool TakeRun(const SourcePartition& partition, const SpilledRun& run, Pending& pending);
  std::shared_ptr<const LakeState> Build() const;

  const std::string root_;
  const Millis window_size_;
  PinnedRuns* const runs_;
  mutable std::mutex mutex_;
  // Under mutex_.
  Table counts_, ledger_;
  std::shared_ptr<const std::vector<LocationEntry>> locations_;
  std::map<SourcePartition, Pending> pending_;
  std::map<SourcePartition, Offset> expected_;
  std::shared_ptr<const LakeState> state_;  // null: something has changed since
};

// The engine's sealed segments become visible to queries. In memory, committed at once.
class PendingSink final : public Sink {
 public:
  explicit PendingSink(LakeView* view) : view_(view) {}
  Status Fence(const SourcePartition&, Epoch) override { return Status::Ok(); }
  Result<Offset> Committed(const SourcePartition& partition) override {
    return view_->Committed(partition);
  }
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override;
  void Follow(const SourcePartition& partition, const SealedList& list) override;

 private:
  LakeView* const view_;
  bool begun_ = false;
};

}  // namespace sightline
