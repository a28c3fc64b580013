// LakeView: what queries see - one version of the lake, and the pending rows that are not in it
// yet.
//
// Tasks feed it through PendingSink (every sealed segment, at once), and the lake's writers feed it
// (every commit). A reader takes version and pending rows at one moment, under one mutex. A segment
// leaves the pending rows at the moment in which the version that contains it becomes current. So
// no sum ever dips or counts a segment twice.
//
// While the lake is away, pending rows grow. The view keeps them in the same form as the task's
// list, so its memory has the same bound:
// - It merges segments wherever the list does. That is safe, because the lake commits only at the
//   boundaries that the list has kept.
// - It drops what the task has spilled. Queries that need it read the spilled runs, one at a time.
// Thread-safe.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/lake/snapshot.h"
#include "engine/sink.h"
#include "model/location.h"
#include "model/log_end.h"
#include "query/lake_source.h"

namespace sightline {

class PinnedRun;
class PinnedRuns;
struct PartitionHealth;
struct SpilledRun;

// What the engine says of its partitions. Both functions are thread-safe and take no lock of the
// view. Null: nothing is known, so every partition may still come.
struct EngineReports {
  std::function<std::vector<PartitionHealth>()> partitions;
  std::function<LogEnd(const SourcePartition&)> end_of;
};

class LakeView final : public LakeSource {
 public:
  // `root` is the lake's folder, or that of `copies`, an absolute path. `window_size` is that of
  // the rows. `runs` and `copies` must outlive the view. Without runs, spilled counts stay in
  // memory here.
  LakeView(std::string root, Millis window_size, PinnedRuns* runs = nullptr,
           EngineReports engine = {}, FileKeeper* copies = nullptr);
  // Until the lake has been read, there is no state, and this is why. Empty: there is one.
  void SetUnread(std::string why);

  // Set the newest versions of the two tables. A version that is not newer changes nothing.
  void SetCounts(const lake::SnapshotPtr& snapshot);
  void SetLedger(const lake::SnapshotPtr& snapshot);
  void SetLocations(std::vector<Location> locations);
  // Queries wait for the tasks to come to where the screen was loaded: `partition` has to reach
  // `offset` first. Otherwise sums would dip over a restart. They do not wait for a partition that
  // has stopped, or that the engine no longer has: their answers name it.
  void Expect(const SourcePartition& partition, Offset offset);

  // The following are for PendingSink.
  // Returns the offset from which the view needs segments.
  Offset Committed(const SourcePartition& partition);
  // Adds segments. False: they do not continue the earlier ones.
  bool Apply(const SourcePartition& partition, std::span<const Segment> segments);
  // A task has loaded its list. It may cut segments at other offsets than an earlier task did, so
  // the earlier segments are dropped, and queries are refused until as much has been applied again.
  // The view takes the spilled runs of the list; the segments follow through Apply().
  void Begin(const SourcePartition& partition, const SealedList& list);
  // The task's list has merged segments or spilled them into runs; the view does the same.
  void Follow(const SourcePartition& partition, const SealedList& list);

  // kRetry: the lake has not been read yet, or a partition that is counted has not yet reached the
  // offset that is expected of it.
  Result<std::shared_ptr<const LakeState>> Current() override;
  FileKeeper* copies() override { return copies_; }
  int64_t pending_rows() const;

 private:
  struct Table {
    std::string_view name;
    lake::SnapshotPtr snapshot;
    FileList files;
  };
  struct Pending {
    std::vector<std::shared_ptr<const PinnedRun>> runs;  // the oldest offsets
    std::vector<Segment> segments;                       // the offsets behind them, contiguous
    Offset next = kNoneCommitted;  // the end of what has come; kNoneCommitted: nothing has
  };
  struct Partition {
    std::string counts_txn, ledger_txn;  // the names of its offsets in the tables, made once
    Offset in_counts = kNoneCommitted, in_ledger = kNoneCommitted;  // at the current versions
    std::optional<Pending> pending;
    // What only one of the tables has must be applied again, for the other one.
    Offset committed() const { return std::min(in_counts, in_ledger); }
    // Where queries begin to lack counts.
    Offset reached() const { return pending ? std::max(pending->next, committed()) : committed(); }
  };

  void Set(Table& table, const lake::SnapshotPtr& snapshot);
  Partition& Of(const SourcePartition& partition);
  Status WaitForExpected(const std::vector<PartitionHealth>& partitions);
  std::vector<IncompletePartition> FindIncomplete(const std::vector<PartitionHealth>& partitions);
  void FindOffsets(Partition& partition) const;
  static void DropCommitted(Partition& partition);
  bool TakeRun(const SourcePartition& partition, const SpilledRun& run, Pending& pending);
  std::shared_ptr<const LakeState> Build() const;

  const std::string root_;
  const Millis window_size_;
  PinnedRuns* const runs_;
  const EngineReports engine_;
  FileKeeper* const copies_;  // null: the lake's files are read in place
  mutable std::mutex mutex_;
  // Under mutex_.
  std::string unread_;
  Table counts_, ledger_;
  std::shared_ptr<const std::vector<Location>> locations_;
  std::map<SourcePartition, Partition> partitions_;  // those that somebody has named
  std::map<SourcePartition, Offset> expected_;
  std::shared_ptr<const LakeState> state_;  // built on demand; null: something has changed since
};

// Makes the engine's sealed segments visible to queries. It keeps them in memory, so every commit
// succeeds at once.
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
