#include "engine/partition_task.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"
#include "engine/checkpoint.h"

namespace sightline {
namespace {

constexpr int64_t kLongAgo = INT64_MIN;

// When a sink is due to commit a segment that has waited since `since_ms`. Sinks with `together`
// round up to the next multiple of the interval, so that all tasks commit at the same moments.
int64_t CommitTime(const SinkOptions& sink, int64_t since_ms) {
  const int64_t interval = sink.CommitIntervalMs();
  if (!sink.together || interval <= 0) return since_ms + interval;
  return since_ms / interval * interval + interval;
}

// A write that only a person can make possible (a file system that is read-only, a right that is
// missing) is tried again: it may be corrected while everything else goes on. Fencing and what
// contradicts itself end a task; an error of a store does not.
Status Lasting(Status status) {
  return status.code() == StatusCode::kStop ? Status::Retry(status.message()) : status;
}

Result<StepResult> Worked(Status status) {
  if (!status.ok()) return status;
  return StepResult::kWorked;
}

}  // namespace

PartitionTask::PartitionTask(SourcePartition partition, const PipelineSpec& spec,
                             TaskOptions options, TaskPorts ports)
    : partition_(std::move(partition)),
      spec_(spec),
      options_(std::move(options)),
      ports_(std::move(ports)),
      operator_(spec, options_.hash_seed),
      sealed_({.rows_max = options_.merged_rows_max, .bytes_max = options_.merged_bytes_max}),
      phase_(Mutated(Mutant::kFenceFirst) ? Phase::kFence : Phase::kClaim),
      sinks_(ports_.sinks.size()) {
  uint64_t duty = static_cast<uint64_t>(partition_.partition) << 8;
  const auto backoff = [&](int64_t delay_ms_max) {
    return Backoff(delay_ms_max, SeedOf(partition_.source, ++duty));
  };
  read_backoff_ = backoff(Backoff::kDelayMsMax);
  for (Backoff* of_store :
       {&start_backoff_, &checkpoint_backoff_, &spill_backoff_, &remove_backoff_})
    *of_store = backoff(Backoff::kStoreDelayMsMax);
  for (SinkState& sink : sinks_) sink.backoff = backoff(Backoff::kStoreDelayMsMax);
  CHECK(ports_.source != nullptr && ports_.store != nullptr);
  CHECK(ports_.sinks.size() < 63);  // a PortSet has a bit for each
  CHECK(!ports_.sinks.empty());
  CHECK(options_.sinks.size() == ports_.sinks.size());
}

Result<StepResult> PartitionTask::Step(int64_t now_ms) {
  now_ms_ = now_ms;
  Result<StepResult> done = !suspect_.ok()          ? LookForNewerOwner()
                            : phase_ == Phase::kRun ? Run()
                                                    : Start();
  if (Mutated(Mutant::kResetFields) && !done.ok() && done.status().code() == StatusCode::kRebuild)
    return ResetFields(done.status());
  return done;
}

// ---- the start ---------------------------------------------------------------------------------

Result<StepResult> PartitionTask::Start() {
  if (draining_ || start_backoff_.Waiting(now_ms_)) return StepResult::kIdle;
  start_asks_ = kStorePort;
  const Result<StepResult> done = StartPhase();
  if (done.ok()) {
    if (done.value() == StepResult::kWorked) start_backoff_.Succeeded();
    return done;
  }
  if (done.status().code() == StatusCode::kStop) return StopUnlessSuperseded(done.status());
  return Failed(start_backoff_, counters_.retries, done.status());
}

Result<StepResult> PartitionTask::StartPhase() {
  switch (phase_) {
    case Phase::kClaim:
      return Claim();
    case Phase::kFence:
      return Worked(FenceSink());
    case Phase::kLoad:
      return Load();
    case Phase::kReadCommitted:
      return Worked(ReadCommitted());
    case Phase::kSeek:
      return Worked(SeekToStart());
    case Phase::kRun:
      break;
  }
  CHECK(false);
  return StepResult::kIdle;
}

Asked<Result<StoredCheckpoint>> PartitionTask::AskLatest() {
  return ports_.store->Ask<Result<StoredCheckpoint>>(
      [partition = partition_](CheckpointStore& store) { return store.Latest(partition); });
}

// Turns kStop into kRebuild if a newer owner has claimed the partition. To a zombie, the progress
// of its successor can look like a loss of data; only the newest owner may call for a person.
Result<StepResult> PartitionTask::StopUnlessSuperseded(Status stop) {
  CHECK(stop.code() == StatusCode::kStop);
  if (!ChecksClaim()) return stop;
  CHECK(latest_ == nullptr);
  suspect_ = std::move(stop);
  return LookForNewerOwner();
}

Result<StepResult> PartitionTask::LookForNewerOwner() {
  start_asks_ = kStorePort;
  if (start_backoff_.Waiting(now_ms_)) return StepResult::kIdle;
  if (latest_ == nullptr) latest_ = AskLatest();
  const std::optional<Result<StoredCheckpoint>> stored = TakeAnswer(latest_);
  if (!stored) return StepResult::kIdle;
  // What was asked before has been answered, too. The newest entry may be this task's own.
  if (put_.answer != nullptr) {
    const Result<StepResult> put = FinishCheckpoint();
    if (!put.ok()) return put;
  }
  if (!stored->ok()) return Failed(start_backoff_, counters_.retries, stored->status());
  if (stored->value().newest != epoch_) return Status::Rebuild("a newer owner has claimed");
  return suspect_;
}

bool PartitionTask::ChecksClaim() const {
  return !Mutated(Mutant::kNoSecondLook) && !Mutated(Mutant::kNoClaim);
}

PartitionTask::Phase PartitionTask::AfterClaim() const {
  return Mutated(Mutant::kFenceFirst) ? Phase::kLoad : Phase::kFence;
}
PartitionTask::Phase PartitionTask::AfterFence() const {
  return Mutated(Mutant::kFenceFirst) ? Phase::kClaim : Phase::kLoad;
}

// 1. Claim. Claims order the owners: from here on, an older owner cannot put a checkpoint.
Result<StepResult> PartitionTask::Claim() {
  if (claim_put_ == nullptr) {
    if (latest_ == nullptr) latest_ = AskLatest();
    const std::optional<Result<StoredCheckpoint>> stored = TakeAnswer(latest_);
    if (!stored) return StepResult::kIdle;
    if (!stored->ok()) return stored->status();
    epoch_ = stored->value().newest;
    if (!Mutated(Mutant::kNoClaim)) {
      ++epoch_.v;
      claim_put_ = ports_.store->Ask<Status>(
          [partition = partition_, epoch = epoch_](CheckpointStore& store) {
            return store.PutIfAbsent(partition, epoch, nullptr);
          });
    }
  }
  if (claim_put_ != nullptr) {
    const std::optional<Status> put = TakeAnswer(claim_put_);
    if (!put) return StepResult::kIdle;
    RETURN_IF_ERROR(Lasting(*put));
  }
  claim_ = epoch_;
  phase_ = AfterClaim();
  return StepResult::kWorked;
}

// 2. Fence every sink, one a Step. From here on, an older owner cannot commit anything.
Status PartitionTask::FenceSink() {
  start_asks_ = SinkPort(turn_);
  RETURN_IF_ERROR(ports_.sinks[turn_]->Fence(partition_, epoch_));
  if (++turn_ == sinks_.size()) {
    turn_ = 0;
    phase_ = AfterFence();
  }
  return Status::Ok();
}

// 3. Load the newest checkpoint, after the fences. If the claim is still the newest entry now, no
//    newer owner had claimed while this task fenced, so its fences are the newest, too.
Result<StepResult> PartitionTask::Load() {
  // The question is asked here, behind the fences: no earlier answer will do.
  if (latest_ == nullptr) latest_ = AskLatest();
  const std::optional<Result<StoredCheckpoint>> stored = TakeAnswer(latest_);
  if (!stored) return StepResult::kIdle;
  if (!stored->ok()) return stored->status();
  if (ChecksClaim() && stored->value().newest != epoch_)
    return Status::Rebuild("a newer owner has claimed");
  has_checkpoint_ = stored->value().checkpoint.has_value();
  if (has_checkpoint_) {
    RETURN_IF_ERROR(LoadCheckpoint(*stored->value().checkpoint));
  } else {
    start_asks_ = kSourcePort;
    const Result<Offset> earliest = ports_.source->Earliest();
    if (!earliest.ok()) return earliest.status();
    position_ = origin_ = earliest.value();
  }
  open_first_ = checkpointed_ = position_;
  // Runs that crashes and zombies have left behind are removed at the first chance.
  runs_to_remove_ = true;
  NotifyFollowers();
  phase_ = Phase::kReadCommitted;
  return StepResult::kWorked;
}

Status PartitionTask::LoadCheckpoint(std::string_view bytes) {
  Result<Checkpoint> read = ReadCheckpoint(bytes);
  if (!read.ok())
    return Status::Stop(fmt::format("partition {} of '{}': {}", partition_.partition,
                                    partition_.source, read.status().message()));
  Checkpoint& checkpoint = read.value();
  operator_ = CountOperator(spec_);
  RETURN_IF_ERROR(operator_.Load(checkpoint.state));
  range_changed_ = operator_.range_changed();
  position_ = checkpoint.head.next;
  origin_ = checkpoint.head.origin;
  degraded_until_ = checkpoint.head.degraded_until;
  degraded_from_ = operator_.watermark();
  gap_ = checkpoint.head.gap;
  absent_in_checkpoint_ = checkpoint.head.absent;
  for (SpilledRun& run : checkpoint.runs) {
    runs_in_checkpoint_.push_back(run.id);
    sealed_.AddRun(std::move(run));
  }
  for (Segment& segment : checkpoint.sealed) sealed_.Add(std::move(segment));
  return Status::Ok();
}

// 4. Read each sink's committed offset S. A sink takes the segments from S on and no others. So
//    replay needs no mode of its own: it only needs that no segment straddles S, hence the cut
//    exactly there.
Status PartitionTask::ReadCommitted() {
  if (committed_offsets_.size() < sinks_.size()) {
    start_asks_ = SinkPort(committed_offsets_.size());
    const Result<Offset> committed = ports_.sinks[committed_offsets_.size()]->Committed(partition_);
    if (!committed.ok()) return committed.status();
    committed_offsets_.push_back(committed.value());
    return Status::Ok();
  }
  if (!has_checkpoint_) BeginAtOldestOffset();
  for (size_t sink = 0; sink < sinks_.size(); ++sink)
    RETURN_IF_ERROR(TakeCommitted(sink, committed_offsets_[sink]));
  phase_ = Phase::kSeek;
  return Status::Ok();
}

// Without a checkpoint, counting begins at the smallest committed offset if that lies before the
// earliest retained one. The offsets between them are a gap like any other.
void PartitionTask::BeginAtOldestOffset() {
  for (const Offset committed : committed_offsets_)
    if (committed != kNoneCommitted) position_ = std::min(position_, committed);
  open_first_ = checkpointed_ = origin_ = position_;
}

Status PartitionTask::TakeCommitted(size_t sink, Offset committed) {
  SinkState& state = sinks_[sink] = {.backoff = sinks_[sink].backoff};
  const Offset first = sealed_.empty() ? position_ : sealed_.first();
  state.has_any = committed != kNoneCommitted;
  if (WasOff(sink) || (!state.has_any && options_.sinks[sink].may_be_new)) {
    if (!state.has_any) committed = origin_;
    const Offset next = committed >= position_ ? committed
                        : sealed_.empty() || Mutated(Mutant::kOffMissesTheList)
                            ? position_
                            : sealed_.BoundaryFrom(committed);
    if (committed < next) {
      Miss(sink, committed, next);
      state.committed = committed;
      state.waiting_since_ms = kLongAgo;
      return Status::Ok();
    }
  }
  // A sink without this partition may begin only where counting began. Anywhere else it has lost
  // its data, or is new, and would silently miss what came before.
  if (!state.has_any) {
    if (first != origin_)
      return StopFor(
          sink,
          fmt::format("it has nothing of this partition, whose checkpoint begins at offset {}, but "
                      "counting began at {}: the sink is new here, or has lost its data. Restore "
                      "it; or stop every task and delete the checkpoints of this partition, which "
                      "fills the sink from the earliest retained offset",
                      first.v, origin_.v));
    committed = first;
  }
  if (committed < first)
    return StopFor(
        sink, fmt::format("it has everything up to offset {}, but the checkpoint begins at {}: it "
                          "has lost what it had committed. Restore it; or stop every task, delete "
                          "the checkpoints of this partition, and let the partition be replayed",
                          committed.v, first.v));
  if (committed < position_ && !sealed_.IsBoundary(committed))
    return StopFor(sink,
                   fmt::format("its committed offset {} lies inside a sealed segment of the "
                               "checkpoint, which ends at {}: the partition had two owners, or the "
                               "sink was restored from a backup without the checkpoint",
                               committed.v, position_.v));
  // The sink is ahead of the checkpoint: replay reaches S and must cut the open segment there.
  if (committed > position_ && !Mutated(Mutant::kSealBeforeS) &&
      std::ranges::find(cuts_, committed) == cuts_.end()) {
    cuts_.push_back(committed);
    std::ranges::sort(cuts_, std::greater());
  }
  state.committed = committed;
  if (Mutated(Mutant::kReplayOutputOn)) state.committed = std::min(committed, position_);
  // Segments from the checkpoint have waited long enough. Committing them at once lets even a task
  // that never lives as long as the commit interval make progress.
  if (state.committed < position_) state.waiting_since_ms = kLongAgo;
  // The sink has counts, but the ids behind them are not remembered: copies of them could be
  // counted again until a horizon has passed.
  if (state.has_any && !has_checkpoint_ && position_.v > 0) degraded_until_ = kAfterAllTime;
  return Status::Ok();
}

// True if the sink may lack what the checkpoint has dropped: it was switched off, or had not yet
// committed what it missed.
bool PartitionTask::WasOff(size_t sink) const {
  return std::ranges::count(absent_in_checkpoint_, options_.sinks[sink].name) > 0;
}

// A sink that was switched off lacks [first, next), where `next` is the first boundary of the list
// from which on everything is there for it. It becomes a gap in this sink's own ledger, cut where
// another sink stands: two tables that are read as one may stand at different offsets.
void PartitionTask::Miss(size_t sink, Offset first, Offset next) {
  std::vector<Offset> cuts;
  for (const Offset committed : committed_offsets_)
    if (first < committed && committed < next) cuts.push_back(committed);
  cuts.push_back(next);
  std::ranges::sort(cuts);
  const auto repeated = std::ranges::unique(cuts);
  cuts.erase(repeated.begin(), repeated.end());
  SinkState& state = sinks_[sink];
  state.missed_range = {first, next};
  // Which windows were complete at these offsets is not known any more.
  for (const Offset cut : cuts)
    state.missed.push_back(GapSegment(std::exchange(first, cut), cut, kBeforeAllTime));
}

// 5. Seek: first to each committed offset ahead of the position, which must exist in the source,
//    and then to where reading continues.
Status PartitionTask::SeekToStart() {
  start_asks_ = kSourcePort;
  for (size_t sink = 0; sink < sinks_.size(); ++sink) RETURN_IF_ERROR(SeekCommitted(sink));
  const Status here = ports_.source->Seek(position_);
  const bool anyone_here = std::ranges::any_of(
      sinks_, [&](const SinkState& s) { return s.has_any && s.committed == position_; });
  // No sink stands at this offset: it only was the earliest one a moment ago, so nothing is lost.
  // Begin again with the present one.
  if (here.code() == StatusCode::kStop && !has_checkpoint_ && !anyone_here)
    return Status::Rebuild("retention has passed the earliest offset meanwhile");
  if (here.code() == StatusCode::kStop) {
    RETURN_IF_ERROR(SkipGap(here));
  } else {
    RETURN_IF_ERROR(here);
  }
  checkpointed_ms_ = now_ms_;
  if (!cuts_.empty()) counters_.read_again = cuts_.front().v - position_.v;
  phase_ = Phase::kRun;
  DropCommitted();
  return Status::Ok();
}

// Checks that the source still has a sink's committed offset. If retention has passed that as well,
// the gap is reported for the position where reading continues, so this check passes.
Status PartitionTask::SeekCommitted(size_t sink) {
  const Offset committed = sinks_[sink].committed;
  if (committed <= position_) return Status::Ok();
  if (range_changed_)
    return StopFor(
        sink, fmt::format("pipeline.count_from or count_until has changed, but the offsets [{}, "
                          "{}) behind the checkpoint were counted with the earlier settings: start "
                          "once with the earlier settings, stop with SIGTERM, and then change them",
                          position_.v, committed.v));
  const Status there = ports_.source->Seek(committed);
  if (there.code() != StatusCode::kStop) return there;
  const Result<Offset> earliest = ports_.source->Earliest();
  if (!earliest.ok()) return earliest.status();
  if (earliest.value() > committed) return Status::Ok();
  return StopFor(
      sink,
      fmt::format(
          "the source does not have its committed offset {} ({}): is it still the same source?",
          committed.v, there.message()));
}

// ---- gaps --------------------------------------------------------------------------------------

// The source has refused position_. If its earliest offset lies behind the position, retention has
// removed what is between: that is a gap. It becomes segments like all others, cut at each sink's
// committed offset, whose ledger says how much was lost. The gap also bounds what is read: which
// copies count behind it depends on where it began. So nothing behind it is read before a
// checkpoint has the gap, and after a crash everybody finds the same one.
Status PartitionTask::SkipGap(const Status& refused) {
  const Result<Offset> earliest = ports_.source->Earliest();
  if (!earliest.ok()) return earliest.status();
  if (earliest.value() <= position_) return refused;
  if (options_.on_gap == OnGap::kStop) return StopForGap(earliest.value());
  const Status there = ports_.source->Seek(earliest.value());
  if (there.code() == StatusCode::kStop)
    return Status::Retry("retention has passed the earliest offset meanwhile");
  RETURN_IF_ERROR(there);
  Seal(position_);
  gap_ = {position_, earliest.value()};
  while (position_ < gap_.next) {
    const bool cut = !cuts_.empty() && cuts_.back() < gap_.next && !Mutated(Mutant::kGapStraddles);
    SealGap(cut ? cuts_.back() : gap_.next);
    // A cut inside the gap is done; a cut at its end is the boundary of the gap itself.
    for (; !cuts_.empty() && cuts_.back() <= position_; cuts_.pop_back()) ++counters_.cuts;
  }
  counters_.lost += gap_.next.v - gap_.first.v;
  gap_unsaved_ = true;
  at_end_ = false;
  degraded_until_ = kAfterAllTime;
  degraded_from_ = operator_.watermark();
  return Status::Ok();
}

void PartitionTask::SealGap(Offset next) {
  CHECK(open_first_ == position_);
  Segment gap = GapSegment(position_, next, operator_.watermark());
  if (Mutated(Mutant::kGapTwice)) gap.ledger[0].ledger.lost = gap_.next.v - gap_.first.v;
  position_ = open_first_ = next;
  AddSealed(std::move(gap));
}

Status PartitionTask::StopForGap(Offset earliest) {
  gap_ = {position_, earliest};
  std::string ahead;
  for (size_t sink = 0; sink < sinks_.size(); ++sink)
    if (sinks_[sink].committed > position_)
      ahead += fmt::format("; sink '{}' has what lies before {}", options_.sinks[sink].name,
                           sinks_[sink].committed.v);
  gap_stop_ = Status::Stop(
      fmt::format("retention has removed the offsets [{}, {}) of partition {} of '{}' before they "
                  "were counted: {} offsets are lost{}. To continue at {} and record the loss in "
                  "the ledger, start with engine.on_gap = count",
                  gap_.first.v, gap_.next.v, partition_.partition, partition_.source,
                  gap_.next.v - gap_.first.v, ahead, gap_.next.v));
  // What was read before the gap is still good. Put a checkpoint of it before stopping, so that no
  // more is lost than must be.
  if (phase_ == Phase::kRun && checkpointed_ != position_) return Status::Ok();
  return gap_stop_;
}

// True if a gap begins at this boundary of the list.
bool PartitionTask::GapAt(Offset boundary) const {
  return boundary < open_first_ && sealed_.RunAt(boundary) == nullptr &&
         sealed_.Between(boundary, open_first_).front().IsGap();
}

Status PartitionTask::StopFor(size_t sink, const std::string& what) const {
  return Status::Stop(fmt::format("sink '{}' of partition {} of '{}': {}",
                                  options_.sinks[sink].name, partition_.partition,
                                  partition_.source, what));
}

// The planted bug kResetFields: recovery by hand. It resets neither the operator nor the ports.
Result<StepResult> PartitionTask::ResetFields(Status status) {
  operator_.TakeSegment(open_first_, position_);
  sealed_ = SealedList({.rows_max = options_.merged_rows_max});
  phase_ = Phase::kClaim;
  turn_ = 0;
  latest_ = nullptr;
  put_ = {};
  run_put_ = {};
  removal_ = nullptr;
  cuts_.clear();
  committed_offsets_.clear();
  rounds_ = unsaved_records_ = 0;
  return Status::Retry(status.message());
}

// ---- the duties --------------------------------------------------------------------------------

// One duty per Step, in turn, so that the simulator can crash the world between any two of them.
Result<StepResult> PartitionTask::Run() {
  using Duty = Result<StepResult> (PartitionTask::*)();
  constexpr std::array<Duty, 4> kOthers = {
      &PartitionTask::CheckpointIfDue, &PartitionTask::SpillIfDue, &PartitionTask::RemoveRunsIfDue,
      &PartitionTask::ReadIfDue};
  const size_t duties = sinks_.size() + kOthers.size();
  for (size_t i = 0; i < duties; ++i) {
    const size_t duty = turn_++ % duties;
    Result<StepResult> done =
        duty < sinks_.size() ? CommitIfDue(duty) : (this->*kOthers[duty - sinks_.size()])();
    if (!done.ok() || done.value() == StepResult::kWorked || !suspect_.ok()) return done;
  }
  return StepResult::kIdle;
}

Result<StepResult> PartitionTask::ReadIfDue() {
  if (draining_ || range_changed_ || gap_unsaved_ || read_backoff_.Waiting(now_ms_))
    return StepResult::kIdle;
  // To stop for a gap: first the checkpoint of what was read, then the report.
  if (!gap_stop_.ok() && checkpointed_ != position_) return StepResult::kIdle;
  if (!gap_stop_.ok()) return StopUnlessSuperseded(gap_stop_);
  if (Full()) {
    ++counters_.held_up;
    return StepResult::kIdle;
  }
  return Read();
}

Result<StepResult> PartitionTask::Read() {
  StepResult result = StepResult::kIdle;
  Status failed = Status::Ok();
  for (int64_t left = options_.records_max; left > 0;) {
    Result<Batch> polled = ports_.source->Poll(left);
    if (!polled.ok()) {
      at_end_ = false;
      Status status = polled.status();
      if (status.code() == StatusCode::kStop) status = SkipGap(status);
      if (status.ok()) return StepResult::kWorked;
      if (status.code() == StatusCode::kStop) return StopUnlessSuperseded(std::move(status));
      failed = Failed(read_backoff_, counters_.retries, status);
      break;
    }
    read_backoff_.Succeeded();
    const Batch& batch = polled.value();
    // The source must continue exactly where the last batch ended: a hole here would be a silent
    // loss.
    CHECK(batch.first == position_ && batch.first <= batch.next);
    at_end_ = batch.first == batch.next;
    if (at_end_) break;
    Count(batch);
    left -= std::max<int64_t>(1, static_cast<int64_t>(batch.records.size()));
    result = StepResult::kWorked;
  }
  if (result == StepResult::kWorked) ++rounds_;
  // A segment that cannot grow now must not wait for more records.
  const bool complete = at_end_ || !failed.ok() || rounds_ >= options_.segment_batches;
  if (complete && Seal(position_)) result = StepResult::kWorked;
  if (!failed.ok()) return failed;
  return result;
}

void PartitionTask::Count(const Batch& batch) {
  operator_.BeginBatch();
  for (const Record& record : batch.records) {
    // Advance twice: up to the record, because holes in the offsets may contain a cut, and past it,
    // because a cut may lie right behind it.
    AdvanceTo(record.offset);
    operator_.OnRecord(record.offset, record.append_time, record.payload);
    AdvanceTo({record.offset.v + 1});
    const size_t rows = operator_.open_rows();
    if (rows >= options_.segment_rows_max ||
        static_cast<int64_t>(operator_.open_bytes()) >= options_.segment_bytes_max)
      Seal(position_);
  }
  AdvanceTo(batch.next);
  const auto records = static_cast<int64_t>(batch.records.size());
  counters_.records += records;
  unsaved_records_ += records;
  if (records > 0) append_time_ = batch.records.back().append_time;
  // The first record that moves the watermark fixes when results are whole again: one horizon
  // later, every copy of what was forgotten is too late.
  if (degraded_until_ == kAfterAllTime && operator_.watermark() > degraded_from_)
    degraded_until_ = operator_.watermark() + spec_.dedup_horizon;
}

void PartitionTask::AdvanceTo(Offset next) {
  CHECK(next >= position_);
  // Exactly at each committed offset, wherever the batch ends: no segment may straddle one.
  while (!cuts_.empty() && cuts_.back() <= next) {
    Seal(cuts_.back());
    cuts_.pop_back();
    ++counters_.cuts;
    // What is replayed was told before.
    if (cuts_.empty()) operator_.ForgetIdConflicts();
  }
  position_ = next;
}

bool PartitionTask::Seal(Offset next) {
  rounds_ = 0;
  if (open_first_ == next) return false;
  Segment segment = operator_.TakeSegment(open_first_, next);
  open_first_ = next;
  AddSealed(std::move(segment));
  return true;
}

void PartitionTask::AddSealed(Segment segment) {
  for (SinkState& sink : sinks_)
    if (sink.committed < segment.next && sink.waiting_since_ms == kNever)
      sink.waiting_since_ms = now_ms_;
  sealed_.Add(std::move(segment));
  ++counters_.segments;
  DropCommitted();
}

// Drops what every sink has, and merges neighbours in what is left. The boundaries at committed and
// offered offsets stay, because later offers are cut there (SealedList::Merge).
void PartitionTask::DropCommitted() {
  Offset all = open_first_;
  std::vector<Offset> kept;
  for (const SinkState& sink : sinks_) {
    all = std::min(all, sink.needs_from());
    kept.push_back(sink.needs_from());
    if (sink.offered != kNoneCommitted) kept.push_back(sink.offered);
  }
  // A run that is being put describes segments of the list: they stay as they are.
  if (run_put_.answer != nullptr)
    kept.insert(kept.end(), run_put_.run.boundaries.begin(), run_put_.run.boundaries.end());
  const size_t runs = sealed_.runs().size();
  sealed_.DropUntil(all);
  if (sealed_.runs().size() < runs) {
    runs_dropped_ = true;
    if (Mutated(Mutant::kRunsRemovedEarly)) runs_to_remove_ = true;
  }
  if (Mutated(Mutant::kOneAccumulator)) return sealed_.MergeAll();
  const int64_t merged = sealed_.Merge(kept);
  counters_.merges += merged;
  if (merged > 0) NotifyFollowers();
}

void PartitionTask::NotifyFollowers() {
  for (const auto& sink : ports_.sinks) sink->Follow(partition_, sealed_);
}

Result<StepResult> PartitionTask::CommitIfDue(size_t index) {
  if (SinkDue(index) > now_ms_) return StepResult::kIdle;
  SinkState& sink = sinks_[index];
  Offset next = sink.offered;
  if (next == kNoneCommitted) {
    next = sink.missed.empty() ? OfferEnd(sink.committed, options_.sinks[index].offer_rows_max)
                               : sink.needs_from();
    sink.offered_all = next == open_first_;
  }
  const Result<std::optional<std::span<const Segment>>> offer = Offer(sink, next);
  if (offer.status().code() == StatusCode::kStop) return StopUnlessSuperseded(offer.status());
  if (!offer.ok()) return Failed(sink.backoff, sink.retries, offer.status());
  if (!offer.value()) return StepResult::kIdle;
  const std::span<const Segment> segments = *offer.value();
  const bool at_once = !sink.offered_all || segments.front().IsGap() || GapAt(next);
  const Result<Offset> committed = ports_.sinks[index]->Commit(partition_, segments);
  if (!committed.ok()) {
    // The write may be under way, so the same offer is repeated. Then the only possible answer is
    // `next`, even if the sink looks up what became of an earlier offer, and one boundary has to be
    // kept for it.
    if (committed.status().code() == StatusCode::kRetry) sink.offered = next;
    return Failed(sink.backoff, sink.retries, Lasting(committed.status()));
  }
  // Any other answer would leave the sink inside a segment of the list, where no later offer could
  // begin.
  if (committed.value() != next)
    return StopFor(index,
                   fmt::format("it was offered [{}, {}) and says that it has committed up to {}",
                               sink.committed.v, next.v, committed.value().v));
  sink.committed = next;
  sink.has_any = true;
  sink.offered = kNoneCommitted;
  sink.loaded = {};
  sink.missed.clear();
  // If more is left, the rest commits at once when the offer was cut short by a limit or by a gap;
  // otherwise it waits for its interval.
  sink.waiting_since_ms = next == open_first_ ? kNever : at_once ? kLongAgo : now_ms_;
  sink.backoff.Succeeded();
  ++sink.commits;
  DropCommitted();
  return StepResult::kWorked;
}

// Where an offer that begins at `committed` ends. It is everything there is; or, if the sink limits
// its rows, as many segments as fit, but at least one. Of what lies in runs, it is one run or one
// segment. A gap is offered alone, so that a sink that stores ranges of offsets reports exactly the
// lost ones.
Offset PartitionTask::OfferEnd(Offset committed, int64_t rows_max) const {
  if (const SpilledRun* run = sealed_.RunAt(committed))
    return rows_max == 0 ? run->next() : *std::ranges::upper_bound(run->boundaries, committed);
  const std::span<const Segment> all = sealed_.Between(committed, open_first_);
  int64_t rows = 0;
  for (const Segment& segment : all) {
    rows += static_cast<int64_t>(segment.rows());
    const bool too_large = rows_max > 0 && rows > rows_max && segment.first > committed;
    if (too_large || segment.IsGap() != all.front().IsGap()) return segment.first;
  }
  return open_first_;
}

// The segments [sink.committed, next) of the list; nothing while a run of them is being read. An
// offer that was made when they were in memory may, when it is repeated, lie in several runs and in
// memory.
Result<std::optional<std::span<const Segment>>> PartitionTask::Offer(SinkState& sink, Offset next) {
  using Offered = std::optional<std::span<const Segment>>;
  if (!sink.missed.empty()) return Offered(sink.missed);
  std::vector<Segment>& loaded = sink.loaded;
  if (loaded.empty() && sealed_.RunAt(sink.committed) == nullptr)
    return Offered(sealed_.Between(sink.committed, next));
  for (Offset at = loaded.empty() ? sink.committed : loaded.back().next; at < next;
       at = loaded.back().next) {
    if (sink.read == nullptr && sealed_.RunAt(at) == nullptr) {
      std::ranges::copy(sealed_.Between(at, next), std::back_inserter(loaded));
      continue;
    }
    Result<std::optional<std::vector<Segment>>> read = ReadRun(sink, at, next);
    if (!read.ok()) return read.status();
    if (!read.value()) return Offered();
    std::ranges::move(*read.value(), std::back_inserter(loaded));
  }
  CHECK(loaded.front().first == sink.committed || Mutated(Mutant::kWholeRun));
  CHECK(loaded.back().next == next);
  return Offered(loaded);
}

// The segments within [first, next) of the run that lies at `first`; nothing while it is being
// read. Both offsets are boundaries, or lie beyond the run.
Result<std::optional<std::vector<Segment>>> PartitionTask::ReadRun(SinkState& sink, Offset first,
                                                                   Offset next) {
  using Loaded = std::optional<std::vector<Segment>>;
  if (sink.read == nullptr) {
    sink.reading = *sealed_.RunAt(first);
    sink.read = ports_.store->Ask<Result<std::string>>(
        [partition = partition_, id = sink.reading.id](CheckpointStore& store) {
          return store.ReadRun(partition, id);
        });
  }
  const std::optional<Result<std::string>> bytes = TakeAnswer(sink.read);
  if (!bytes) return Loaded();
  if (!bytes->ok()) return bytes->status();
  Result<std::vector<Segment>> segments = DecodeRun(sink.reading, bytes->value());
  if (!segments.ok())
    return Status::Stop(fmt::format("partition {} of '{}': {}", partition_.partition,
                                    partition_.source, segments.status().message()));
  ++counters_.runs_read;
  if (Mutated(Mutant::kWholeRun)) first = sink.reading.first;
  std::erase_if(segments.value(), [&](const Segment& segment) {
    return segment.first < first || segment.next > next;
  });
  return Loaded(std::move(segments).value());
}

// Writes the state as it is now, and has it put while the task goes on.
Result<StepResult> PartitionTask::CheckpointIfDue() {
  if (put_.answer != nullptr) return FinishCheckpoint();
  if (CheckpointDue() > now_ms_) return StepResult::kIdle;
  Seal(position_);
  const bool degraded = operator_.watermark() < degraded_until_;
  put_ = {.epoch = {epoch_.v + 1},
          .head = {.next = position_,
                   .origin = origin_,
                   .degraded_until = degraded_until_,
                   .gap = degraded ? gap_ : Gap{},
                   .absent = AbsentSinks()},
          .records = unsaved_records_,
          .drops_runs = std::exchange(runs_dropped_, false)};
  for (const SpilledRun& run : sealed_.runs()) put_.runs.push_back(run.id);
  const CheckpointWriter save_state = [this](const ByteSink& out) {
    if (Mutated(Mutant::kLoseDedup)) return CountOperator(spec_).Save(out);
    operator_.Save(out);
  };
  // Shared with the call, which outlives a task that is thrown away.
  const std::shared_ptr<ByteSpool> spool = ports_.store->NewSpool();
  WriteCheckpoint(put_.head, sealed_.runs(), sealed_.in_memory(), save_state,
                  [&](std::string_view piece) { spool->Write(piece); });
  put_.bytes = spool->size();
  const Status spooled = spool->Finish();
  put_.answer = ports_.store->Ask<Status>(
      [partition = partition_, epoch = put_.epoch, spool, spooled](CheckpointStore& store) {
        return spooled.ok() ? store.PutIfAbsent(partition, epoch, spool.get()) : spooled;
      });
  const Result<StepResult> done = FinishCheckpoint();
  return done.ok() ? StepResult::kWorked : done;
}

Result<StepResult> PartitionTask::FinishCheckpoint() {
  const std::optional<Status> answer = TakeAnswer(put_.answer);
  if (!answer) return StepResult::kIdle;
  const Status put = Lasting(*answer);
  if (!put.ok()) {
    runs_dropped_ |= put_.drops_runs;
    ++counters_.checkpoint_failures;
    checkpoint_trouble_ = put.message();
    return Failed(checkpoint_backoff_, counters_.retries, put);
  }
  checkpoint_backoff_.Succeeded();
  counters_.checkpoint_failures = 0;
  checkpoint_trouble_.clear();
  epoch_ = put_.epoch;
  // From here on, the checkpoint is durable: whatever waited for one may go on. A gap that was
  // found meanwhile waits for the next one.
  range_changed_ = false;
  checkpointed_ = put_.head.next;
  checkpointed_ms_ = now_ms_;
  unsaved_records_ -= put_.records;
  if (checkpointed_ >= gap_.next || Mutated(Mutant::kGapInOlderPut)) gap_unsaved_ = false;
  absent_in_checkpoint_ = std::move(put_.head.absent);
  runs_in_checkpoint_ = std::move(put_.runs);
  runs_to_remove_ |= put_.drops_runs;
  ++counters_.checkpoints;
  counters_.checkpoint_bytes = put_.bytes;
  return StepResult::kWorked;
}

// The sinks that the next checkpoint has to name. Those that were off are named until all of them
// have committed what they missed: after a crash before that, they miss it still. One that has
// committed it may be a view of another one that has not, as what is pending is of the lake.
std::vector<std::string> PartitionTask::AbsentSinks() const {
  std::vector<std::string> absent = options_.sinks_off;
  if (Mutated(Mutant::kOffIsForgotten)) return absent;
  const bool misses = std::ranges::any_of(sinks_, [](const auto& s) { return !s.missed.empty(); });
  for (const std::string& name : absent_in_checkpoint_) {
    const bool is_here = std::ranges::count(options_.sinks, name, &SinkOptions::name) > 0;
    if ((misses || !is_here) && std::ranges::count(absent, name) == 0) absent.push_back(name);
  }
  return absent;
}

// True if the newest checkpoint still excuses a sink that is here now and has everything. A loss of
// that sink's data would be taken for an absence.
bool PartitionTask::AbsenceOver() const {
  return std::ranges::none_of(sinks_, [](const auto& sink) { return !sink.missed.empty(); }) &&
         std::ranges::any_of(options_.sinks, [&](const SinkOptions& sink) {
           return std::ranges::count(absent_in_checkpoint_, sink.name) > 0;
         });
}

// Spills the oldest part of the list when it has been full for a while because some sink is away.
// The segments leave memory only once their run is durable. A run that was put without an answer is
// garbage until it is removed.
Result<StepResult> PartitionTask::SpillIfDue() {
  if (run_put_.answer != nullptr) return FinishSpill();
  if (!Full()) {
    full_since_ms_ = kNever;
  } else if (full_since_ms_ == kNever) {
    full_since_ms_ = now_ms_;
  }
  if (SpillDue() > now_ms_) return StepResult::kIdle;
  const std::span<const Segment> oldest =
      sealed_.Oldest(std::min(options_.run_bytes_max, options_.sealed_bytes_max), TakenInMemory());
  // Shared with the call, which outlives a task that is thrown away.
  const auto bytes = std::make_shared<const std::string>(EncodeRun(oldest));
  run_put_.run = DescribeRun({claim_, ++run_number_}, oldest, std::ssize(*bytes));
  run_put_.answer = ports_.store->Ask<Status>(
      [partition = partition_, id = run_put_.run.id, bytes](CheckpointStore& store) {
        return store.PutRun(partition, id, *bytes);
      });
  const Result<StepResult> done = FinishSpill();
  return done.ok() ? StepResult::kWorked : done;
}

Result<StepResult> PartitionTask::FinishSpill() {
  const std::optional<Status> answer = TakeAnswer(run_put_.answer);
  if (!answer) return StepResult::kIdle;
  const Status put = Lasting(*answer);
  const bool ignored = Mutated(Mutant::kSpillBeforePut) && put.code() == StatusCode::kRetry;
  if (!put.ok() && !ignored) {
    runs_dropped_ = true;
    return Failed(spill_backoff_, counters_.retries, put);
  }
  spill_backoff_.Succeeded();
  if (!SpillFits()) {
    runs_dropped_ = true;
    return StepResult::kWorked;
  }
  sealed_.Spill(std::move(run_put_.run));
  ++counters_.spills;
  NotifyFollowers();
  return StepResult::kWorked;
}

// False: a sink has taken some of the segments while their run was being put. It is garbage then.
bool PartitionTask::SpillFits() const {
  const std::vector<Offset>& boundaries = run_put_.run.boundaries;
  const std::span<const Segment> there = sealed_.in_memory();
  return there.size() >= boundaries.size() && there.front().first == run_put_.run.first &&
         std::ranges::equal(boundaries, there.first(boundaries.size()), {}, {}, &Segment::next);
}

// Where the part of the list that may be spilled ends: the smallest committed offset of the sinks
// that have some of the segments in memory. So only the sinks that lack all of them, the slow ones,
// ever have to read a run.
Offset PartitionTask::TakenInMemory() const {
  const Offset first = sealed_.in_memory().front().first;
  Offset taken = open_first_;
  for (const SinkState& sink : sinks_)
    if (sink.needs_from() > first) taken = std::min(taken, sink.needs_from());
  return taken;
}

// Removes runs that nobody needs, at the start and after a checkpoint that no longer names them has
// become durable. Runs that the newest checkpoint names are kept even if the list has dropped them:
// a restart would load them.
//
// A run that is being put is kept, and nothing is removed while a checkpoint is being put: it may
// name what the list has dropped since, and its entry is the newest from a moment on that this task
// does not know yet. A checkpoint that is put later names nothing that is not kept here.
Result<StepResult> PartitionTask::RemoveRunsIfDue() {
  if (removal_ == nullptr) {
    if (!runs_to_remove_ || put_.answer != nullptr || remove_backoff_.Waiting(now_ms_))
      return StepResult::kIdle;
    std::vector<RunId> kept;
    if (!Mutated(Mutant::kRunsRemovedEarly)) kept = runs_in_checkpoint_;
    for (const SpilledRun& run : sealed_.runs()) kept.push_back(run.id);
    if (run_put_.answer != nullptr && !Mutated(Mutant::kRunRemovedInPut))
      kept.push_back(run_put_.run.id);
    removal_ = ports_.store->Ask<Status>(
        [partition = partition_, epoch = epoch_, kept = std::move(kept)](CheckpointStore& store) {
          return store.RemoveRuns(partition, epoch, kept);
        });
    runs_to_remove_ = false;
  }
  const std::optional<Status> answer = TakeAnswer(removal_);
  if (!answer) return StepResult::kIdle;
  const Status removed = Lasting(*answer);
  if (!removed.ok()) {
    runs_to_remove_ = true;
    return Failed(remove_backoff_, counters_.retries, removed);
  }
  remove_backoff_.Succeeded();
  return StepResult::kWorked;
}

Status PartitionTask::Failed(Backoff& backoff, int64_t& retries, Status status) {
  if (status.code() == StatusCode::kRetry) {
    backoff.Failed(now_ms_);
    ++retries;
  }
  return status;
}

// ---- when --------------------------------------------------------------------------------------

int64_t PartitionTask::SinkDue(size_t index) const {
  const SinkState& sink = sinks_[index];
  if (sink.offered != kNoneCommitted) return sink.backoff.until_ms();
  if (sink.waiting_since_ms == kNever) return kNever;
  // What lies in runs has waited long enough. A sink that lacks much commits at once, to empty the
  // list; one that lacks little keeps its interval, as committing early would not help.
  const bool at_once =
      draining_ || sink.waiting_since_ms == kLongAgo || sealed_.RunAt(sink.committed) != nullptr ||
      sealed_.Exceeds(sink.committed, options_.sealed_max / 2, options_.sealed_bytes_max / 2);
  const int64_t due = at_once ? kLongAgo : CommitTime(options_.sinks[index], sink.waiting_since_ms);
  return std::max(due, sink.backoff.until_ms());
}

int64_t PartitionTask::CheckpointDue() const {
  if (put_.answer != nullptr) return kNever;
  if (range_changed_) return checkpoint_backoff_.until_ms();
  if (position_ == checkpointed_ && !runs_dropped_ && !AbsenceOver()) return kNever;
  const int64_t records_enough =
      std::clamp(operator_.remembered_ids() / 4, options_.checkpoint_records_min,
                 options_.checkpoint_records_max);
  const int64_t due = draining_ || gap_unsaved_ || AbsenceOver() || !gap_stop_.ok() ||
                              unsaved_records_ >= records_enough
                          ? kLongAgo
                          : checkpointed_ms_ + options_.checkpoint_interval_ms;
  return std::max(due, checkpoint_backoff_.until_ms());
}

// True if an answer of the store waits to be taken.
bool PartitionTask::Answered() const {
  return HasFinished(latest_) || HasFinished(claim_put_) || HasFinished(put_.answer) ||
         HasFinished(run_put_.answer) || HasFinished(removal_) ||
         std::ranges::any_of(sinks_, [](const SinkState& s) { return HasFinished(s.read); });
}

int64_t PartitionTask::NextDue(int64_t now_ms) const {
  if (drained()) return kNever;
  if (Answered()) return now_ms;
  if (phase_ != Phase::kRun || !suspect_.ok()) {
    const bool asked = latest_ != nullptr || claim_put_ != nullptr;
    return asked ? kNever : std::max(now_ms, start_backoff_.until_ms());
  }
  int64_t due = CheckpointDue();
  for (size_t sink = 0; sink < sinks_.size(); ++sink)
    if (sinks_[sink].read == nullptr) due = std::min(due, SinkDue(sink));
  if (!draining_ && !range_changed_ && !at_end_ && !gap_unsaved_ && !Full())
    due = std::min(due, read_backoff_.until_ms());
  if (runs_to_remove_ && removal_ == nullptr && put_.answer == nullptr)
    due = std::min(due, remove_backoff_.until_ms());
  return std::max(now_ms, std::min(due, SpillDue()));
}

int64_t PartitionTask::SpillDue() const {
  if (run_put_.answer != nullptr) return kNever;
  if (draining_ || !Full() || sealed_.spilled_bytes() >= options_.spill_bytes_max) return kNever;
  const int64_t since = full_since_ms_ == kNever ? now_ms_ : full_since_ms_;
  const int64_t due = sealed_.runs().empty() ? since + options_.spill_after_ms : since;
  return std::max(due, spill_backoff_.until_ms());
}

bool PartitionTask::Full() const {
  return sealed_.size() >= options_.sealed_max || sealed_.bytes() >= options_.sealed_bytes_max;
}
void PartitionTask::RetryNow(PortSet called) {
  if ((called & start_asks_) != 0) start_backoff_.RetryNow();
  if ((called & kSourcePort) != 0) read_backoff_.RetryNow();
  if ((called & kStorePort) != 0)
    for (Backoff* of_store : {&checkpoint_backoff_, &spill_backoff_, &remove_backoff_})
      of_store->RetryNow();
  for (size_t sink = 0; sink < sinks_.size(); ++sink)
    if ((called & SinkPort(sink)) != 0) sinks_[sink].backoff.RetryNow();
}

void PartitionTask::Drain() {
  if (!draining_) RetryNow();  // the last chance before the process ends
  draining_ = true;
  if (phase_ == Phase::kRun) Seal(position_);
}

// ---- what a task says about itself -------------------------------------------------------------

bool PartitionTask::caught_up() const {
  return phase_ == Phase::kRun && at_end_ && open_first_ == position_ &&
         std::ranges::all_of(sinks_, [&](const SinkState& s) { return s.committed >= position_; });
}

bool PartitionTask::drained() const {
  if (!draining_ || phase_ != Phase::kRun) return draining_;
  return checkpointed_ == position_ && open_first_ == position_ && !AbsenceOver() &&
         std::ranges::all_of(sinks_, [&](const SinkState& s) { return s.committed >= position_; });
}

Offset PartitionTask::committed(size_t sink) const {
  return sinks_[sink].has_any ? sinks_[sink].committed : kNoneCommitted;
}

TaskStatus PartitionTask::Snapshot() const {
  TaskStatus status = counters_;
  status.running = phase_ == Phase::kRun;
  status.at_end = at_end();
  status.drained = drained();
  status.degraded = status.running && operator_.watermark() < degraded_until_;
  if (!gap_stop_.ok() || (status.degraded && !gap_unsaved_)) status.gap = gap_;
  status.checkpoint_trouble = checkpoint_trouble_;
  status.epoch = epoch_;
  status.position = position_;
  status.checkpointed = checkpointed_;
  status.append_time = append_time_;
  status.watermark = operator_.watermark();
  status.remembered_ids = operator_.remembered_ids();
  status.cameras = operator_.cameras();
  status.clock_jumps = operator_.clock_jumps();
  if (cuts_.empty()) status.id_conflicts = operator_.id_conflicts();
  status.sealed_segments = static_cast<int64_t>(sealed_.size());
  status.sealed_rows = sealed_.rows();
  status.sealed_bytes = sealed_.bytes();
  status.spilled_runs = std::ssize(sealed_.runs());
  status.spilled_bytes = sealed_.spilled_bytes();
  status.full = Full() && sealed_.spilled_bytes() >= options_.spill_bytes_max;
  for (size_t i = 0; i < sinks_.size(); ++i)
    status.sinks.push_back({.name = options_.sinks[i].name,
                            .committed = committed(i),
                            .offered = sinks_[i].offered,
                            .commits = sinks_[i].commits,
                            .retries = sinks_[i].retries,
                            .missed = sinks_[i].missed_range});
  return status;
}

}  // namespace sightline
