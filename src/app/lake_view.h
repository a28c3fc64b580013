// LakeView: what queries see - the lake at one version and what the engine has not committed there.
//
// Fed by the tasks through PendingSink (every sealed segment, at once) and by the lake's writers
// (every commit). A reader takes both at one moment, so that its sums never dip: a segment leaves
// `pending` in the same moment in which the version that has it becomes current.
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

class LakeView final : public LakeSource {
 public:
  // `root`: the lake's folder, absolute. `window_size`: of the rows.
  LakeView(std::string root, Millis window_size);

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

  // kRetry: a partition has not yet come to what was expected of it.
  Result<std::shared_ptr<const LakeState>> Current() override;
  int64_t pending_rows() const;

 private:
  struct Table {
    lake::SnapshotPtr snapshot;
    FileList files;
  };
  struct Pending {
    std::vector<Segment> segments;  // contiguous
    Offset next = kNoneCommitted;   // everything before it came here; kNoneCommitted: nothing yet
  };

  void Set(Table& table, std::string_view name, const lake::SnapshotPtr& snapshot);
  static Offset OffsetIn(const Table& table, std::string_view name,
                         const SourcePartition& partition);
  void DropCommitted();
  std::shared_ptr<const LakeState> Build() const;

  const std::string root_;
  const Millis window_size_;
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

 private:
  LakeView* const view_;
};

}  // namespace sightline
