// LakeWriter: the one writer of a table in a process, shared by the sinks of all its partitions.
//
// What the sinks hand over within a short time becomes one Delta commit: one file for each
// partition value, and one txn action with the new offset of each source partition. So a table has
// few commits and few files however many partitions there are.
//
// Once it is open, nothing that the storage says stops a task: what a person must correct
// (permissions, a file system that is not mounted) is kRetry to the sinks, and trouble() says it.
// Only a fence that is refused is kStop.
//
// Thread-safe. One thread of its own writes; the sinks only queue and poll. Several processes may
// have a writer each: every commit checks owner and offset again on what the others have committed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/snapshot.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/write_batch.h"
#include "connectors/storage/storage.h"
#include "engine/async_answer.h"
#include "engine/sink.h"
#include "model/types.h"

namespace sightline::lake {

struct LakeWriterOptions {
  std::string table = std::string(kIncrementsTable);  // or kLedgerTable
  Layout layout = Layout::kByLocation;                // used when the table is created
  // Before item_count_increments has more locations than this, it gets the layout by bucket.
  int64_t max_partitions = kMaxPartitions;
  // How long a segment waits for those of other partitions.
  Millis linger{200};
  Millis window_size{60'000};
  int64_t checkpoint_commits = 100;  // a checkpoint at every version that is a multiple of this
  Millis log_retention{30 * 86'400'000LL};  // older commits that no reader needs are deleted
  std::string engine = "embedded";          // owns the sources that it was the first to write
  // Returns the location's present name, empty if it is unknown. Called by the writer's thread. May
  // be null.
  std::function<std::string(LocationId)> location_name;
  // Called by the writer's thread after each commit, with the snapshot that current() returns by
  // then. May be null.
  std::function<void(const SnapshotPtr&)> on_commit;
  // Asked before the table is created or used; see OpenOrCreate(). May be null; outlives the
  // writer.
  KnownTables* known = nullptr;
};

struct LakeWriterStats {
  int64_t commits = 0;  // commits with rows or offsets, without fences
  int64_t conflicts = 0;
  int64_t failures = 0;  // commits without a known success
  int64_t files = 0;
  int64_t rows = 0;
  int64_t bytes = 0;
};

class LakeWriter {
 public:
  // Opens the table, and creates it if needed. kStop: its columns are not ours, its log is
  // damaged, or it needs a feature that we do not support. `storage` and `clock` outlive the
  // writer.
  static Result<std::unique_ptr<LakeWriter>> Open(Storage& storage, const Clock& clock,
                                                  LakeWriterOptions options);
  // Answers what is queued with kRetry, and abandons a write under way before its commit. A sink
  // that outlives the writer must not be used.
  ~LakeWriter();
  LakeWriter(const LakeWriter&) = delete;
  LakeWriter& operator=(const LakeWriter&) = delete;

  // Opens the sink of one task (engine/sink.h). The writer outlives it. `on_answer` is called by
  // the writer's thread when a call that said kRetry should be repeated; it may be null.
  std::unique_ptr<Sink> OpenSink(std::function<void()> on_answer);

  // The newest version that this process knows. It includes everything that the process has
  // committed.
  SnapshotPtr current() const;
  LakeWriterStats stats() const;
  // Why nothing can be written until a person corrects it; empty if nothing is known to be wrong.
  std::string trouble() const;
  const LakeWriterOptions& options() const { return options_; }

  // --- for LakeTableSink ---

  // From the writer's thread, whose queue may hold it longer than the sink lives.
  struct Answer {
    Status status = Status::Ok();
    int64_t token = 0;  // of a fence
  };
  // `token` of a write is the answer of its fence. Both calls are answered with kRetry if the
  // writer is closing.
  void Fence(const SourcePartition& partition, Epoch epoch, AsyncAnswerPtr<Answer> answer);
  void Write(WriteBatch batch, int64_t token, AsyncAnswerPtr<Answer> answer);

 private:
  struct FenceJob {
    SourcePartition partition;
    Epoch epoch;
    AsyncAnswerPtr<Answer> answer;
  };
  struct WriteJob {
    WriteBatch batch;
    int64_t token = 0;
    AsyncAnswerPtr<Answer> answer;
  };
  using Time = std::chrono::steady_clock::time_point;

  LakeWriter(Storage& storage, const Clock& clock, LakeWriterOptions options, TableSpec spec,
             SnapshotPtr snapshot);
  void Run();
  void RunFences(std::vector<FenceJob> jobs);
  void RunWrites(std::vector<WriteJob> jobs);
  Status AddColumnsFor(const std::vector<WriteJob>& jobs);
  Result<std::vector<AddFile>> WriteFiles(const std::vector<WriteJob>& jobs);
  // kRetry once the writer is closing.
  Status CheckOpen() const;
  Status UseSpec();
  Status UseLayoutFor(const std::vector<WriteJob>& jobs);
  Status Judged(Status status);
  Result<Change> PlanFences(const std::vector<FenceJob>& jobs, const Snapshot& snapshot) const;
  // True: it is to be written. False: it is in the table already. kRebuild: it is refused.
  Result<bool> IsNew(const WriteJob& job, const Snapshot& snapshot) const;
  void FinishDuplicates(std::vector<WriteJob>& jobs, const Snapshot& snapshot) const;
  void Publish(const SnapshotPtr& snapshot);
  void Maintain(const Snapshot& snapshot);
  static void Finish(AsyncAnswer<Answer>& answer, Status status);

  // Set by the constructor.
  Storage& storage_;
  const Clock& clock_;
  const LakeWriterOptions options_;

  // Used by the thread only.
  TableSpec spec_;
  std::shared_ptr<const Metadata> spec_of_;  // the metadata that spec_ was read from
  // Of the layout by location. None: others have written, so they must be found again.
  std::optional<std::set<LocationId>> locations_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Under mutex_.
  std::vector<FenceJob> fences_;
  std::vector<WriteJob> writes_;
  Time oldest_write_;  // when the first of writes_ arrived
  bool closing_ = false;
  SnapshotPtr current_;
  LakeWriterStats stats_;
  std::string trouble_;

  std::thread thread_;
};

}  // namespace sightline::lake
