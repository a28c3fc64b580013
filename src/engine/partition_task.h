// PartitionTask: all the work for one source partition. It reads the partition, counts it, commits
// the sealed segments to every sink and puts checkpoints.
//
// Used by one thread. Step() does a bounded amount of work, never waits and never reads a clock. A
// call of the store that is under way holds up nothing but its own duty.
// The threaded runtime and the simulator both drive the task only through Step(). The task is
// crash-only: after kRebuild its owner discards the task and its ports and builds new ones, which
// is the same path as after kill -9. There is no other recovery. The rules are in
// docs/SEMANTICS.md, "Exactly once".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/backoff.h"
#include "engine/checkpoint.h"
#include "engine/checkpoint_store.h"
#include "engine/sealed_list.h"
#include "engine/sink.h"
#include "engine/source.h"
#include "engine/store_worker.h"
#include "model/types.h"
#include "operators/count_operator.h"
#include "pipeline/spec.h"

namespace sightline {

struct SinkOptions {
  std::string name;  // for messages and metrics
  // How long a sealed segment waits for others; 0: it is committed at once.
  int64_t commit_interval_ms = 0;
  // Commit at multiples of the interval, at the same moments as the other tasks, so that a sink
  // which they share can put all their segments into one write.
  bool together = false;
  // A sink that has nothing of a partition, although counting began earlier, is a new one, and
  // records what it lacks. Otherwise it has lost its data, and the task stops.
  bool may_be_new = false;
  // An offer has at most this many rows, or is a single segment; 0: unlimited. For sinks whose
  // writes must stay small.
  int64_t offer_rows_max = 0;
  // If it is set, it says commit_interval_ms instead, and may say another one later. Called by the
  // task's thread and by the monitor's; it never waits.
  std::function<int64_t()> interval_ms_now;

  int64_t CommitIntervalMs() const {
    return interval_ms_now ? interval_ms_now() : commit_interval_ms;
  }
};

// What to do when retention has removed offsets that were not read.
enum class OnGap : uint8_t {
  kStop,   // stop, and wait for a person
  kCount,  // record them as lost in the ledger, and continue behind them
};

struct TaskOptions {
  std::vector<SinkOptions> sinks;  // one for each sink of the ports, in their order
  // The names of sinks that this pipeline had, but that are switched off now. Checkpoints name
  // them: when one is on again, it records as lost what it missed, instead of stopping the task.
  std::vector<std::string> sinks_off;
  OnGap on_gap = OnGap::kStop;

  uint64_t hash_seed = 0;       // for a new CountOperator
  int64_t records_max = 4'096;  // read by one Step() at most
  // A segment is sealed when the source has nothing more to read, when this many Steps have read
  // into it, or when it has this many rows or bytes of dead letters.
  int64_t segment_batches = 4;
  size_t segment_rows_max = 16'384;
  int64_t segment_bytes_max = 4 * 1024 * 1024;
  // Merged segments stay within these limits.
  size_t merged_rows_max = 16'384;
  int64_t merged_bytes_max = 4 * 1024 * 1024;
  // Bounds of the list of sealed segments in memory. A sink that lacks more than half of a bound is
  // due at once. At the bound the oldest segments are spilled, in runs of at most run_bytes_max (as
  // in memory), until the runs have spill_bytes_max (as stored; 0: nothing is spilled). Then
  // reading stops until the slowest sink has committed (TaskStatus::held_up).
  size_t sealed_max = 256;
  int64_t sealed_bytes_max = 128LL * 1024 * 1024;
  int64_t spill_bytes_max = 0;
  int64_t run_bytes_max = 8 * 1024 * 1024;
  // Spilling begins when the list has been full for this long, so that a sink which is only busy
  // for a moment is waited for.
  int64_t spill_after_ms = 1'000;

  // Writing a checkpoint costs as much as the operator remembers; after a crash, what was read
  // since the last checkpoint is read again. So a checkpoint is due when the records since the last
  // one exceed a quarter of the remembered ids (then each record read causes at most four ids to be
  // written), kept within [min, max]. In any case it is due checkpoint_interval_ms after the last
  // one, if anything was read.
  int64_t checkpoint_records_min = 100'000;
  int64_t checkpoint_records_max = 5'000'000;
  int64_t checkpoint_interval_ms = 60'000;
};

// What a task reads and writes. The instances belong to one task and are discarded with it.
struct TaskPorts {
  std::unique_ptr<Source> source;
  std::vector<std::unique_ptr<Sink>> sinks;  // at least one
  std::unique_ptr<StoreWorker> store;
};

enum class StepResult : uint8_t { kWorked, kIdle };

struct SinkStatus {
  std::string name;
  Offset committed = kNoneCommitted;
  Offset offered = kNoneCommitted;  // kNoneCommitted: no offer is unanswered
  int64_t commits = 0;
  int64_t retries = 0;  // kRetry answers
  // The offsets that this sink lacks because it was switched off, as its ledger says.
  Gap missed;
};

// A snapshot for monitoring. The counters start at 0 with each task.
struct TaskStatus {
  bool running = false;  // the start is over: claimed, fenced, checkpoint loaded
  bool at_end = false;   // the last read found nothing more to read
  bool drained = false;
  // True if the task started without a checkpoint where retention had cut the memory, or continued
  // behind a gap. Until a dedup_horizon has passed, copies of what a sink already has may be
  // counted again.
  bool degraded = false;
  // The lost offsets: those that the task stopped for; or the newest gap that it counted as lost
  // and that a checkpoint has, as long as results are degraded.
  Gap gap;
  std::string checkpoint_trouble;          // why the newest put of a checkpoint failed, if it did
  Epoch epoch;                             // of the task's newest entry in the checkpoint store
  Offset position;                         // the next offset to read
  Offset checkpointed;                     // where a restart would continue
  AppendTime append_time = kNoAppendTime;  // of the last record read; gives the lag in time
  Watermark watermark = kBeforeAllTime;
  int64_t remembered_ids = 0;
  int64_t cameras = 0;
  ClockJumps clock_jumps;
  IdConflicts id_conflicts;  // in records that no sink had when the task started
  int64_t sealed_segments = 0;
  int64_t sealed_rows = 0;
  int64_t sealed_bytes = 0;
  int64_t spilled_runs = 0;  // runs that some sink still lacks
  int64_t spilled_bytes = 0;
  bool full = false;              // nothing more can be spilled: reading waits for the slowest sink
  std::vector<SinkStatus> sinks;  // in the order of the options

  int64_t records = 0;
  int64_t segments = 0;  // sealed
  int64_t merges = 0;    // removed boundaries between sealed segments
  int64_t cuts = 0;      // segments cut exactly at a sink's committed offset, in replay
  // Offsets behind the loaded checkpoint that some sink has already: they are read again.
  int64_t read_again = 0;
  int64_t held_up = 0;  // Steps that did not read because the list was full
  int64_t lost = 0;     // offsets recorded as lost
  int64_t spills = 0;   // runs that were put
  int64_t runs_read = 0;
  int64_t checkpoints = 0;
  int64_t checkpoint_bytes = 0;     // of the newest checkpoint
  int64_t checkpoint_failures = 0;  // puts since the newest checkpoint
  int64_t retries = 0;              // kRetry answers of the source and the store
};

class PartitionTask {
 public:
  static constexpr int64_t kNever = INT64_MAX;

  PartitionTask(SourcePartition partition, const PipelineSpec& spec, TaskOptions options,
                TaskPorts ports);

  // Performs one duty: a part of the start, a read, a commit to one sink, a checkpoint, a spill, or
  // the removal of runs. The duties take turns, and each waits for a while (Backoff) after it said
  // kRetry. So a duty that fails holds up none of the others.
  //
  // `now_ms` is of any clock that does not go backwards. kWorked: call again. kIdle: there is
  // nothing to do before NextDue(), or until there is more to read. kRetry: the duty of this Step
  // failed; call again at NextDue(). kRebuild and kStop: the task is dead; destroy it.
  Result<StepResult> Step(int64_t now_ms);
  // When Step() next has something to do, as far as the task can know; kNever if only new records,
  // an answer of the store or another port can give it work.
  int64_t NextDue(int64_t now_ms) const;
  // The ports of the task: its source, its store, and the sinks by their index.
  using PortSet = uint64_t;
  static constexpr PortSet kSourcePort = 1;
  static constexpr PortSet kStorePort = PortSet{1} << 63;
  static constexpr PortSet kAllPorts = ~PortSet{0};
  static constexpr PortSet SinkPort(size_t sink) { return PortSet{2} << sink; }
  // Ends the backoff of what waits for these ports: they have called, so trying again at once is
  // worthwhile. What waits for another port goes on waiting.
  void RetryNow(PortSet called = kAllPorts);
  // Stops reading, commits everything that was read, and puts a checkpoint. It cannot be undone.
  void Drain();

  // After Drain(): everything that was read is in every sink and in a checkpoint. (A task that has
  // not started yet has read nothing.)
  bool drained() const;
  // True if everything that was there to read is in every sink.
  bool caught_up() const;
  // The offset up to which the sink has everything; kNoneCommitted while it has nothing.
  Offset committed(size_t sink) const;
  Offset position() const { return position_; }
  bool at_end() const { return phase_ == Phase::kRun && at_end_; }
  const SourcePartition& partition() const { return partition_; }
  TaskStatus Snapshot() const;

 private:
  enum class Phase : uint8_t { kClaim, kFence, kLoad, kReadCommitted, kSeek, kRun };

  struct SinkState {
    // The sink takes the segments from here on. A sink that has nothing begins where the list
    // began.
    Offset committed;
    bool has_any = false;
    // The end of the offer that may be under way. The same offer is repeated until it is answered.
    Offset offered = kNoneCommitted;
    bool offered_all = false;  // the newest offer held everything there was
    // The offer's segments, if a part of it lies in runs: read once and kept until the offer is
    // answered. At most one run; or, if the offer was made before its segments were spilled, what
    // was in memory at that time.
    std::vector<Segment> loaded;
    // The run that is being read for the offer.
    SpilledRun reading;
    Asked<Result<std::string>> read;
    // What the sink lacks because it was switched off: gaps of this sink alone, which it commits
    // before it takes anything of the list. Empty once they are committed.
    std::vector<Segment> missed;
    Gap missed_range;  // of this life, for monitoring
    // From here on, the sink needs what is in the list.
    Offset needs_from() const { return missed.empty() ? committed : missed.back().next; }
    // Since when a segment waits for a commit; kNever: nothing waits.
    int64_t waiting_since_ms = kNever;
    Backoff backoff{Backoff::kStoreDelayMsMax};
    int64_t commits = 0;
    int64_t retries = 0;
  };

  // A checkpoint that is being put.
  struct CheckpointPut {
    Epoch epoch;
    CheckpointHead head;
    std::vector<RunId> runs;
    int64_t records = 0;  // of unsaved_records_
    int64_t bytes = 0;
    bool drops_runs = false;  // that the checkpoint before it has
    Asked<Status> answer;     // null: none is under way
  };
  // A run that is being put.
  struct RunPut {
    SpilledRun run;
    Asked<Status> answer;  // null: none is under way
  };

  // The start, in this order. The steps that ask the store are kIdle until it has answered.
  Result<StepResult> Start();
  Result<StepResult> StartPhase();
  Result<StepResult> Claim();
  Status FenceSink();
  Result<StepResult> Load();
  Status LoadCheckpoint(std::string_view bytes);
  Status ReadCommitted();
  Status TakeCommitted(size_t sink, Offset committed);
  bool WasOff(size_t sink) const;
  void Miss(size_t sink, Offset first, Offset next);
  void BeginAtOldestOffset();
  Status SeekToStart();
  Status SeekCommitted(size_t sink);
  Status SkipGap(const Status& refused);
  Status StopForGap(Offset earliest);
  bool ChecksClaim() const;
  Asked<Result<StoredCheckpoint>> AskLatest();
  Result<StepResult> StopUnlessSuperseded(Status stop);
  Result<StepResult> LookForNewerOwner();
  Phase AfterClaim() const;
  Phase AfterFence() const;
  // The duties of a running task.
  Result<StepResult> Run();
  Result<StepResult> CommitIfDue(size_t sink);
  Result<StepResult> CheckpointIfDue();
  Result<StepResult> FinishCheckpoint();
  Result<StepResult> SpillIfDue();
  Result<StepResult> FinishSpill();
  Result<StepResult> RemoveRunsIfDue();
  Result<StepResult> ReadIfDue();

  Offset OfferEnd(Offset committed, int64_t rows_max) const;
  Result<std::optional<std::span<const Segment>>> Offer(SinkState& sink, Offset next);
  Result<std::optional<std::vector<Segment>>> ReadRun(SinkState& sink, Offset first, Offset next);
  Result<StepResult> Read();
  void Count(const Batch& batch);
  void AdvanceTo(Offset next);
  bool Seal(Offset next);
  void SealGap(Offset next);
  void AddSealed(Segment segment);
  bool GapAt(Offset boundary) const;
  void DropCommitted();
  void NotifyFollowers();
  Offset TakenInMemory() const;
  int64_t SinkDue(size_t sink) const;
  int64_t CheckpointDue() const;
  std::vector<std::string> AbsentSinks() const;
  bool AbsenceOver() const;
  int64_t SpillDue() const;
  bool Answered() const;
  bool Full() const;
  bool SpillFits() const;
  Status Failed(Backoff& backoff, int64_t& retries, Status status);
  Status StopFor(size_t sink, const std::string& what) const;
  Result<StepResult> ResetFields(Status status);

  // Set by the constructor.
  const SourcePartition partition_;
  const PipelineSpec spec_;
  const TaskOptions options_;
  TaskPorts ports_;
  // Saved in a checkpoint. The open segment [open_first_, position_) lies in the operator; a
  // checkpoint seals it first.
  CountOperator operator_;
  SealedList sealed_;
  Offset position_;
  Offset origin_;
  EventTime degraded_until_ = kBeforeAllTime;
  Gap gap_;
  Offset open_first_;
  // Not saved: a start finds these out again.
  Phase phase_;
  Epoch epoch_;  // of the newest entry that this task has put
  Epoch claim_;  // the first of these entries: this task's claim
  std::vector<SinkState> sinks_;
  std::vector<Offset> committed_offsets_;  // of each sink, while the start reads them
  std::vector<Offset> cuts_;  // committed offsets that replay has not reached yet, descending
  bool has_checkpoint_ = false;
  // The absent sinks that the newest checkpoint names, as loaded or as put.
  std::vector<std::string> absent_in_checkpoint_;
  // The loaded checkpoint was written under another range [count_from, count_until). Nothing is
  // read before a checkpoint with the new range is durable, so that no replay ever covers records
  // of both ranges.
  bool range_changed_ = false;
  // There is a gap that no checkpoint has yet. Nothing is read behind it until one has. So nobody
  // ever decides the records behind it with another memory than this task's, and each gap is
  // reported once.
  bool gap_unsaved_ = false;
  // The watermark that must be passed before degraded_until_ is known.
  Watermark degraded_from_ = kBeforeAllTime;
  // The reason to stop for a gap, once a checkpoint has everything that was read before it.
  Status gap_stop_ = Status::Ok();
  // The reason to stop for a person, unless a newer owner has claimed: nothing else is done until
  // the store has answered that.
  Status suspect_ = Status::Ok();
  size_t turn_ = 0;
  PortSet start_asks_ = 0;  // the port that the start has asked last
  Asked<Result<StoredCheckpoint>> latest_;
  Asked<Status> claim_put_;
  Backoff start_backoff_, read_backoff_, checkpoint_backoff_, spill_backoff_, remove_backoff_;
  int64_t now_ms_ = 0;   // the time of the current Step
  int64_t rounds_ = 0;   // Steps that have read into the open segment
  Offset checkpointed_;  // where a restart would continue
  int64_t checkpointed_ms_ = 0;
  int64_t unsaved_records_ = 0;  // since the last checkpoint
  CheckpointPut put_;
  // Runs. A run may be removed when neither the newest checkpoint (runs_in_checkpoint_) nor the
  // list has it.
  int64_t run_number_ = 0;  // of the newest run that this task tried to put
  RunPut run_put_;
  Asked<Status> removal_;
  std::vector<RunId> runs_in_checkpoint_;
  bool runs_dropped_ = false;  // the newest checkpoint names runs that the list has dropped
  bool runs_to_remove_ = false;
  int64_t full_since_ms_ = kNever;
  bool at_end_ = false;
  bool draining_ = false;
  AppendTime append_time_ = kNoAppendTime;
  std::string checkpoint_trouble_;
  TaskStatus counters_;  // only its counters are used
};

}  // namespace sightline
