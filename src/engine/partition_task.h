// PartitionTask: everything of one source partition - reads it, counts it, commits the sealed
// segments to every sink and puts checkpoints.
//
// Touched by one thread. Step() does bounded work, never waits and never reads a clock: the
// threaded runtime and the simulator both drive it only through Step(). Crash-only: after kRebuild
// the owner throws the task and its ports away and builds new ones, the same path as after kill -9.
// There is no other recovery. The rules are in docs/SEMANTICS.md, "Exactly once".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/backoff.h"
#include "engine/checkpoint.h"
#include "engine/checkpoint_store.h"
#include "engine/sealed_list.h"
#include "engine/sink.h"
#include "engine/source.h"
#include "model/types.h"
#include "operators/count_operator.h"
#include "pipeline/spec.h"

namespace sightline {

struct SinkOptions {
  std::string name;  // for texts and metrics
  // A sealed segment waits so long for others; 0: committed at once.
  int64_t commit_interval_ms = 0;
  // Commit at multiples of the interval, at the same moments as the other tasks: a sink that they
  // share can put what they bring into one write.
  bool together = false;
  // What it is offered has at most so many rows, or is one segment; 0: all there is. For one whose
  // writes may not be large.
  int64_t offer_rows_max = 0;
};

// What to do when retention has removed offsets that were not read.
enum class OnGap : uint8_t {
  kStop,   // wait for a person
  kCount,  // count them as lost, in the ledger, and go on behind them
};

struct TaskOptions {
  std::vector<SinkOptions> sinks;  // one for each sink of the ports, in their order
  OnGap on_gap = OnGap::kStop;

  uint64_t hash_seed = 0;       // of a new CountOperator
  int64_t records_max = 4'096;  // of one Step
  // A segment is sealed when the source has nothing more to read, when so many Steps have read into
  // it, or when it has so many rows or kept bytes.
  int64_t segment_batches = 4;
  size_t segment_rows_max = 16'384;
  int64_t segment_bytes_max = 4 * 1024 * 1024;
  // Sealed segments that are merged stay within these.
  size_t merged_rows_max = 16'384;
  int64_t merged_bytes_max = 4 * 1024 * 1024;
  // The list of sealed segments in memory: a sink that lacks more than half of a bound is due. At
  // the bound the oldest ones are spilled, a run of at most run_bytes_max (of memory) after the
  // other, until the runs have spill_bytes_max (as stored; 0: nothing is spilled). Then reading
  // stops until the slowest sink has committed (TaskStatus::held_up).
  size_t sealed_max = 256;
  int64_t sealed_bytes_max = 128LL * 1024 * 1024;
  int64_t spill_bytes_max = 0;
  int64_t run_bytes_max = 8 * 1024 * 1024;
  // Spilling begins when the list has been full for so long: a sink that is only busy for a moment
  // is waited for.
  int64_t spill_after_ms = 1'000;

  // A checkpoint costs what the operator remembers; without one, what was read since the last is
  // read again after a crash. So it is due when the records since the last one exceed a quarter of
  // the remembered ids (then each record read writes at most four ids), kept within [min, max], and
  // in any case checkpoint_interval_ms after the last one if anything was read.
  int64_t checkpoint_records_min = 100'000;
  int64_t checkpoint_records_max = 5'000'000;
  int64_t checkpoint_interval_ms = 60'000;
};

// What a task reads and writes. Instances belong to one task and are thrown away with it.
struct TaskPorts {
  std::unique_ptr<Source> source;
  std::vector<std::unique_ptr<Sink>> sinks;  // at least one
  std::unique_ptr<CheckpointStore> store;
};

enum class StepResult : uint8_t { kWorked, kIdle };

struct SinkStatus {
  Offset committed = kNoneCommitted;
  Offset offered = kNoneCommitted;  // kNoneCommitted: nothing is under way
  int64_t commits = 0;
  int64_t retries = 0;  // kRetry answers
};

// A snapshot for monitoring; the counters begin at 0 with each task.
struct TaskStatus {
  bool running = false;  // started: the claim, the fences and the checkpoint are behind it
  bool at_end = false;   // the last read found nothing more
  bool drained = false;
  // Started without a checkpoint where retention had cut the memory, or went on behind a gap: until
  // a dedup_horizon has passed, copies of what a sink has may be counted again.
  bool degraded = false;
  // Offsets that are lost: those that it stopped for, or, once a checkpoint says so, the newest
  // that it has counted as lost, as long as it is degraded.
  Gap gap;
  Epoch epoch;                             // of its newest entry in the checkpoint store
  Offset position;                         // the next offset to read
  Offset checkpointed;                     // where a restart would go on
  AppendTime append_time = kNoAppendTime;  // of the last record read: the lag in time
  Watermark watermark = kBeforeAllTime;
  int64_t remembered_ids = 0;
  int64_t cameras = 0;
  int64_t sealed_segments = 0;
  int64_t sealed_rows = 0;
  int64_t sealed_bytes = 0;
  int64_t spilled_runs = 0;  // those that a sink still lacks
  int64_t spilled_bytes = 0;
  bool full = false;              // nothing more can be spilled: reading waits for the slowest sink
  std::vector<SinkStatus> sinks;  // as in the options

  int64_t records = 0;
  int64_t segments = 0;  // sealed
  int64_t merges = 0;    // boundaries between sealed segments removed
  int64_t cuts = 0;      // seals exactly at a sink's committed offset, in replay
  int64_t held_up = 0;   // Steps that did not read because the list was full
  int64_t lost = 0;      // offsets counted as lost
  int64_t spills = 0;    // runs put
  int64_t runs_read = 0;
  int64_t checkpoints = 0;
  int64_t checkpoint_bytes = 0;  // of the newest
  int64_t retries = 0;           // kRetry answers of the source and the store
};

class PartitionTask {
 public:
  static constexpr int64_t kNever = INT64_MAX;

  PartitionTask(SourcePartition partition, const PipelineSpec& spec, TaskOptions options,
                TaskPorts ports);

  // Does one duty: a part of the start, or a read, a commit to one sink, or a checkpoint. They have
  // their turns, and each is left alone for a while (Backoff) after it said kRetry, so that one
  // that fails holds up none of the others.
  //
  // `now_ms` is of any clock that does not go backwards. kWorked: call again. kIdle: nothing to do
  // before NextDue() or until there is more to read. kRetry: the duty of this Step failed; call
  // again at NextDue(). kRebuild, kStop: the task is dead; destroy it.
  Result<StepResult> Step(int64_t now_ms);
  // When Step() has something to do, as far as the task knows by itself; kNever if it does not.
  int64_t NextDue(int64_t now_ms) const;
  // What has said kRetry may be tried at once: a port has called for it.
  void RetryNow();
  // Stop reading; commit everything that was read, and put a checkpoint. Cannot be undone.
  void Drain();

  // After Drain(): everything read is in every sink and in a checkpoint. (A task that has not yet
  // started has read nothing.)
  bool drained() const;
  // Everything that was there to read is in every sink.
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
    // Takes the segments from here on. A sink that has nothing begins where the list began.
    Offset committed;
    bool has_any = false;
    // While a commit may be under way: its end. It is offered again, the same, until it is
    // answered.
    Offset offered = kNoneCommitted;
    bool offered_all = false;  // the newest offer was all there was
    // What of the offer lies in runs, read once and kept until it is answered; empty: nothing. At
    // most a run; or, if the offer was made before it was spilled, what was in memory then.
    std::vector<Segment> loaded;
    int64_t waiting_since_ms = kNever;  // for a commit; kNever: nothing waits
    Backoff backoff;
    int64_t commits = 0;
    int64_t retries = 0;
  };

  // The start, in this order.
  Result<StepResult> Start();
  Status Claim();
  Status FenceSink();
  Status Load();
  Status LoadCheckpoint(std::string_view bytes);
  Status ReadCommitted();
  Status TakeCommitted(size_t sink, Offset committed);
  void BeginAtOldestOffset();
  Status SeekToStart();
  Status SeekCommitted(size_t sink);
  Status SkipGap(const Status& refused);
  Status StopForGap(Offset earliest);
  bool ChecksClaim() const;
  Status UnlessSuperseded(Status stop);
  Phase AfterClaim() const;
  Phase AfterFence() const;
  // The duties.
  Result<StepResult> Run();
  Result<StepResult> CommitIfDue(size_t sink);
  Result<StepResult> CheckpointIfDue();
  Result<StepResult> SpillIfDue();
  Result<StepResult> RemoveRunsIfDue();
  Result<StepResult> ReadIfDue();

  Offset OfferEnd(Offset committed, int64_t rows_max) const;
  Result<std::span<const Segment>> Offer(SinkState& sink, Offset next);
  Status LoadRun(const SpilledRun& run, Offset first, Offset next, std::vector<Segment>* into);
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
  int64_t SpillDue() const;
  bool Full() const;
  Status Failed(Backoff& backoff, int64_t& retries, Status status);
  Status StopFor(size_t sink, const std::string& what) const;
  Result<StepResult> ResetFields(Status status);

  // Given at birth.
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
  // Known again after a start.
  Phase phase_;
  Epoch epoch_;  // of the newest entry that this task put
  Epoch claim_;  // the first of them
  std::vector<SinkState> sinks_;
  std::vector<Offset>
      committed_offsets_;     // what they have committed; until the last of them has said so
  std::vector<Offset> cuts_;  // committed offsets that replay has not reached yet, falling
  bool has_checkpoint_ = false;
  // The checkpoint is of another range [count_from, count_until): nothing is read before there is
  // one of this range, so that no replay ever has records of both.
  bool range_changed_ = false;
  // A gap that no checkpoint has. Nothing is read behind it until one has: so nobody ever reads
  // what comes behind it with another memory than this task's, and it is told once.
  bool gap_unsaved_ = false;
  Watermark degraded_from_ = kBeforeAllTime;  // what it must pass for degraded_until_ to be known
  // What it stops for, once a checkpoint has everything that it had read.
  Status gap_stop_ = Status::Ok();
  size_t turn_ = 0;
  Backoff start_backoff_, read_backoff_, checkpoint_backoff_, spill_backoff_, remove_backoff_;
  int64_t now_ms_ = 0;   // of this Step
  int64_t rounds_ = 0;   // Steps that have read into the open segment
  Offset checkpointed_;  // where a restart would go on
  int64_t checkpointed_ms_ = 0;
  int64_t unsaved_records_ = 0;  // since then
  // Runs. `runs_in_checkpoint_` are those of the newest checkpoint; a run is removed when neither
  // that nor the list has it.
  int64_t run_number_ = 0;  // of the newest that this task tried to put
  std::vector<RunId> runs_in_checkpoint_;
  bool runs_dropped_ = false;  // since the newest checkpoint: it names more than the list has
  bool runs_to_remove_ = false;
  int64_t full_since_ms_ = kNever;
  bool at_end_ = false;
  bool draining_ = false;
  AppendTime append_time_ = kNoAppendTime;
  TaskStatus counters_;  // only the counters
};

}  // namespace sightline
