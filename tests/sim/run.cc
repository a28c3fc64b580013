#include "run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/pipeline_settings.h"
#include "operators/count_operator.h"
#include "operators/decode.h"
#include "reach.h"
#include "reference.h"
#include "topic.h"
#include "world.h"

namespace sightline::sim {
namespace {

const char* Text(StatusCode code) {
  constexpr const char* kTexts[] = {"ok", "retry", "rebuild", "stop"};
  return kTexts[static_cast<size_t>(code)];
}

// Tests the operator alone, without an engine: with any number of partitions and any batches.
void RunOperator(Prng& prng, const PipelineSpec& spec, const Log& log) {
  CountOperator op(spec);
  for (const Entry& entry : log.entries) {
    if (prng.OneIn(3)) op.BeginBatch();
    std::string payload = entry.message->payload;
    const size_t size = payload.size();
    payload.append(kDecodePadding, '}');
    op.OnRecord(entry.offset, {entry.message->append_time},
                std::string_view(payload).substr(0, size));
  }
  if (log.start < log.end)
    MustEqual(op.TakeSegment(log.start, log.end), log.Expect(log.start, log.end));
}

// Sums that do not depend on the partitioning: offsets and the kind of counts are left out.
struct Totals {
  Sums counts;
  std::map<LedgerKey, Ledger> ledger;
  std::vector<std::pair<AppendTime, std::string>> dead_letters;
  void Add(const Segment& segment) {
    for (const CountRow& row : segment.counts) {
      CountKey key = row.key;
      key.kind = CountKind::kCount;
      counts[key] += row.count;
    }
    for (const LedgerRow& row : segment.ledger) ledger[row.key].Add(row.ledger);
    for (const DeadLetter& letter : segment.dead_letters)
      dead_letters.emplace_back(letter.append_time, letter.bytes);
    std::ranges::sort(dead_letters);
  }
  friend bool operator==(const Totals&, const Totals&) = default;
};

TaskOptions RandomOptions(Prng& prng, const std::vector<SinkKind>& kinds) {
  TaskOptions options;
  options.records_max = 1 + prng.Below(8);
  options.segment_batches = 1 + prng.Below(4);
  if (prng.OneIn(4)) options.segment_rows_max = static_cast<size_t>(3 + prng.Below(10));
  if (prng.OneIn(8)) options.segment_bytes_max = 1 + prng.Below(300);
  options.merged_rows_max = static_cast<size_t>(4 << 2 * prng.Below(5));
  if (prng.OneIn(4)) options.merged_bytes_max = 1'000 + prng.Below(4'000);
  options.sealed_max = static_cast<size_t>(3 + prng.Below(12));
  if (prng.OneIn(8)) options.sealed_bytes_max = 2'000 + prng.Below(8'000);
  if (!prng.OneIn(3)) {
    if (prng.OneIn(2)) options.sealed_bytes_max = 500 + prng.Below(4'000);
    if (prng.OneIn(2)) options.sealed_max = static_cast<size_t>(2 + prng.Below(4));
    options.spill_bytes_max = prng.OneIn(4) ? 1 + prng.Below(1'000) : 1'000'000;
    options.run_bytes_max = 1 + prng.Below(prng.OneIn(2) ? 1'000 : 6'000);
    options.spill_after_ms = prng.OneIn(2) ? 0 : prng.Below(40);
  }
  options.checkpoint_records_min = 1 + prng.Below(40);
  options.checkpoint_records_max = options.checkpoint_records_min + prng.Below(60);
  options.checkpoint_interval_ms = 5 + prng.Below(200);
  for (const SinkKind kind : kinds) {
    const int64_t paces[] = {0, prng.Below(5), prng.Below(200), prng.Below(100)};
    options.sinks.push_back({.name = kSinkNames[kind],
                             .commit_interval_ms = prng.OneIn(2) ? 0 : paces[kind],
                             .offer_rows_max = prng.OneIn(3) ? 1 + prng.Below(40) : 0});
  }
  return options;
}

std::vector<SinkKind> RandomSinks(Prng& prng) {
  std::vector<SinkKind> kinds;
  const bool lake = !prng.OneIn(8);
  if (lake && !prng.OneIn(4)) kinds.push_back(kLiveSink);
  if (!lake || !prng.OneIn(6)) kinds.push_back(kTopicSink);
  if (lake) kinds.push_back(kLakeSink);
  if (!prng.OneIn(4)) kinds.push_back(kRemoteSink);
  return kinds;
}

class Run {
 public:
  Run(Prng& prng, const PipelineSpec& spec, const Log& log)
      : w_{.log = log,
           .spec = spec,
           .prng = prng,
           .retained = log.start,
           .visible = log.end,
           .restart = log.start},
        spec_(spec),
        kinds_(RandomSinks(prng)),
        options_(RandomOptions(prng, kinds_)),
        outages_(options_.spill_bytes_max > 0 && !prng.OneIn(3)),
        absent_(static_cast<size_t>(prng.Below(4))),
        gaps_(prng.OneIn(6)),
        may_retain_(gaps_ || prng.OneIn(4)),
        switches_(prng.OneIn(4)),
        grow_one_in_(std::array{2, 6, 15}[static_cast<size_t>(prng.Below(3))]) {
    w_.crash_one_in = std::array{15, 60, 1'000}[static_cast<size_t>(prng.Below(3))];
    w_.fault_one_in = std::array{12, 40, 1'000}[static_cast<size_t>(prng.Below(3))];
    w_.owner_one_in = std::array{30, 80, 250}[static_cast<size_t>(prng.Below(3))];
    if (!prng.OneIn(4)) w_.visible = log.start;
    w_.slow_store = prng.Below(3) < (gaps_ ? 2 : 1);
    if (gaps_) options_.on_gap = OnGap::kCount;
    w_.meanwhile = [this] { OthersGoOn(); };
  }

  void Faulty(int64_t steps) {
    Start(std::make_shared<Process>());
    for (int64_t step = 0; step < steps; ++step) {
      w_.now_ms += w_.prng.Below(4) + (w_.prng.OneIn(50) ? w_.prng.Below(100) : 0);
      Disturb();
      StepOne();
    }
  }

  // Without faults the task must finish, and sleep only when there is nothing to do.
  void ToTheEnd() {
    w_.faulty = false;
    Trace("{} ms: the faults are over", w_.now_ms);
    instances_.erase(instances_.begin(), instances_.end() - 1);
    Owner().is_zombie = false;
    if (Owner().kinds.size() < kinds_.size()) {
      off_.clear();
      instances_.clear();
      Start(std::make_shared<Process>());
    }
    StepUntil([&] { return Owner().task->caught_up() && Owner().task->position() == w_.log.end; });
    for (const SinkKind kind : kinds_) {
      const SinkState& sink = StateOf(kind);
      if (sink.committed != w_.log.end && w_.log.start != w_.log.end)
        throw Violation(fmt::format("{} does not have everything", sink.name));
    }
    StepUntil([&] {  // a rebuilt task must be told again
      Owner().task->Drain();
      return Owner().task->drained();
    });
    CheckDrained(Owner());
  }

  void MustStop();
  void CheckSums(size_t sink);
  size_t sinks() const { return kinds_.size(); }

 private:
  Instance& Owner() { return *instances_.back(); }
  SinkState& StateOf(SinkKind kind) {
    if (kind == kTopicSink) return w_.topic;
    if (kind == kLakeSink) return w_.lake;
    return kind == kRemoteSink ? w_.remote : Owner().process->live;
  }
  void Start(std::shared_ptr<Process> process) {
    WorldSettings settings(&w_);
    if (const Status claimed = ClaimPipelineSettings(spec_, settings); !claimed.ok())
      throw Violation("its own settings are refused: " + claimed.message());
    std::vector<SinkKind> kinds;
    TaskOptions options = options_;
    options.sinks.clear();
    for (size_t i = 0; i < kinds_.size(); ++i) {
      if (off_.contains(kinds_[i])) {
        options.sinks_off.emplace_back(kSinkNames[kinds_[i]]);
        continue;
      }
      kinds.push_back(kinds_[i]);
      options.sinks.push_back(options_.sinks[i]);
    }
    instances_.push_back(
        std::make_unique<Instance>(w_, std::move(process), spec_, options, std::move(kinds)));
  }
  // An operator switches sinks off, or on again. What is live is loaded from the lake.
  void SwitchSinks() {
    off_.clear();
    if (w_.prng.OneIn(2)) return;
    for (const SinkKind kind : {kTopicSink, kLakeSink, kRemoteSink})
      if (w_.prng.OneIn(2)) off_.insert(kind);
    if (off_.contains(kLakeSink)) off_.insert(kLiveSink);
    const auto is_off = [this](SinkKind kind) { return off_.contains(kind); };
    if (std::ranges::all_of(kinds_, is_off)) off_.clear();
    Note(Reach::sink_off, std::ranges::any_of(kinds_, is_off));
  }

  // ---- faults other than failing calls ----
  void Disturb() {
    if (w_.Fire(w_.owner_one_in)) NewOwner();
    if (w_.Fire(800)) WipeCheckpoints();
    const bool store_waits = Owner().NextCall() != PartitionTask::kNever;
    if (w_.Fire(!gaps_ ? 200 : store_waits ? 10 : 100)) Retain();
    if (w_.Fire(300)) Owner().task->Drain();
    if (w_.Fire(50)) Owner().task->RetryNow();
    if (w_.Fire(grow_one_in_)) Grow();
    const std::array sinks = {&w_.topic, &w_.lake, &w_.remote};
    for (size_t sink = 0; sink < sinks.size(); ++sink) {
      const bool for_long = outages_ && (absent_ == sink || absent_ == sinks.size());
      if (w_.Fire(100))
        sinks[sink]->down_until_ms = w_.now_ms + w_.prng.Below(for_long ? 2'500 : 250);
    }
    for (int64_t* until : {&w_.lake.vanished_until_ms, &w_.store_vanished_until_ms})
      if (w_.Fire(300)) *until = w_.now_ms + w_.prng.Below(200);
    if (w_.Fire(400)) w_.store_away_until_ms = w_.now_ms + w_.prng.Below(outages_ ? 600 : 150);
    w_.LandReady(w_.now_ms);
  }
  void NewOwner() {
    Note(Reach::new_owner);
    if (w_.prng.OneIn(2) || instances_.size() > 3) instances_.clear();
    for (auto& i : instances_) {
      Note(Reach::zombie_left);
      i->is_zombie = true;
    }
    if (w_.Fire(4)) StartWithOtherSettings();
    if (switches_) SwitchSinks();
    Trace("{} ms: a new owner", w_.now_ms);
    Start(std::make_shared<Process>());
    if (w_.prng.OneIn(4)) {  // somebody starts two at once
      Owner().is_zombie = true;
      Start(std::make_shared<Process>());
    }
  }
  // Somebody starts a process with another option, also on the folder of an earlier version, which
  // stored no settings. It must not count: the next start has the right ones again.
  void StartWithOtherSettings() {
    const bool old = w_.NewestCheckpoint() != nullptr && w_.prng.OneIn(2);
    if (old) w_.settings.reset();
    other_ = spec_;
    other_.pane_size.v *= 2;
    other_.window_size.v *= 2;
    WorldSettings settings(&w_);
    Trace("{} ms: a start with other settings", w_.now_ms);
    if (!ClaimPipelineSettings(other_, settings).ok())
      return Note(old ? Reach::changed_settings_of_old_folder : Reach::changed_settings);
    instances_.push_back(
        std::make_unique<Instance>(w_, std::make_shared<Process>(), other_, options_, kinds_));
    for (int64_t steps = w_.prng.Below(60); steps > 0; --steps) {
      w_.now_ms += w_.prng.Below(4);
      StepOne();
    }
  }
  // Deletes the checkpoints as a person would, so with everything stopped.
  void WipeCheckpoints() {
    // With retention, what was counted could not be replayed.
    if (may_retain_ && !(gaps_ && EverySinkHasSome())) return;
    Note(Reach::checkpoints_wiped);
    Trace("{} ms: checkpoints wiped", w_.now_ms);
    instances_.clear();
    w_.under_way.clear();
    w_.WipeStore();
    w_.restart = w_.retained;
    if (!may_retain_ && w_.prng.OneIn(3)) {
      Note(Reach::sink_emptied);
      SinkState& sink = *std::array{&w_.topic, &w_.lake, &w_.remote}[size_t(w_.prng.Below(3))];
      sink = {.name = sink.name, .token = sink.token};
    }
    Start(std::make_shared<Process>());
  }
  void Retain() {
    if (!may_retain_) return;
    // A gap is noticed only by tasks or sinks that had begun before it.
    const bool overtakes =
        gaps_ && !w_.prng.OneIn(3) && (w_.NewestCheckpoint() != nullptr || EverySinkHasSome());
    const Offset most = overtakes ? std::min(w_.visible, Offset{w_.restart.v + 60}) : w_.restart;
    if (most <= w_.retained) return;
    Note(Reach::retention);
    w_.retained.v += 1 + w_.prng.Below(most.v - w_.retained.v);
    if (w_.NewestCheckpoint() == nullptr) w_.restart = std::max(w_.restart, w_.retained);
    const auto passed = [this](Offset offset) { return offset < w_.retained; };
    Note(Reach::retention_passes_everybody,
         passed(Owner().task->position()) && std::ranges::all_of(kinds_, [&](SinkKind kind) {
           return passed(StateOf(kind).committed);
         }));
    Trace("{} ms: retention has passed {}", w_.now_ms, w_.retained.v);
  }
  bool EverySinkHasSome() {
    return std::ranges::all_of(kinds_, [&](SinkKind kind) {
      return StateOf(kind == kLiveSink ? kLakeSink : kind).committed != kNoneCommitted;
    });
  }
  void Grow() {
    auto next = w_.log.From(w_.visible);
    for (int64_t n = 1 + w_.prng.Below(3); n > 0 && next != w_.log.entries.end(); --n) ++next;
    w_.visible = next == w_.log.entries.end() ? w_.log.end : next->offset;
  }

  // ---- steps ----
  void StepOne() {
    const auto n = static_cast<size_t>(w_.prng.Below(std::ssize(instances_)));
    Instance& i = *instances_[n];
    if (w_.Fire(15)) i.asleep_until_ms = w_.now_ms + w_.prng.Below(120);  // SIGSTOP
    if (w_.faulty && w_.now_ms < i.asleep_until_ms) return;
    if (i.is_done) return Rebuild(n);
    Note(Reach::zombie_step, i.is_zombie);
    stepping_ = &i;
    const Status status = Step(i);
    stepping_ = nullptr;
    if (status.code() == StatusCode::kStop)
      throw Violation("stopped for a person without a reason: " + status.message());
    if (i.task->drained()) return Exit(n);
    if (i.crashed || status.code() == StatusCode::kRebuild) Rebuild(n);
  }
  // While one owner waits for an answer that is lost, another one, if there is one, goes on.
  void OthersGoOn() {
    if (stepping_ == nullptr || instances_.size() < 2) return;
    Instance* const waits = std::exchange(stepping_, nullptr);
    Instance& other = *instances_[static_cast<size_t>(w_.prng.Below(std::ssize(instances_)))];
    for (int64_t steps = w_.prng.Below(25); steps > 0 && &other != waits; --steps) {
      if (other.is_done || other.crashed || other.task->drained()) break;
      Note(Reach::step_while_an_answer_is_lost);
      const Status status = Step(other);
      if (status.code() == StatusCode::kStop)
        throw Violation("stopped for a person without a reason: " + status.message());
      other.is_done = other.crashed || status.code() == StatusCode::kRebuild;
    }
    stepping_ = waits;
  }
  Status Step(Instance& i) {
    i.CallStore();
    if (i.crashed) return Status::Rebuild("crash");
    const TaskStatus before = i.task->Snapshot();
    const Result<StepResult> done = i.task->Step(w_.now_ms);
    Note(Reach::read_while_a_put_is_under_way,
         i.NextCall() != PartitionTask::kNever && i.task->Snapshot().records > before.records);
    const Status status = done.status();
    if (const TaskStatus after = i.task->Snapshot(); after.lost > before.lost)
      NoteGap(i, before, after);
    CheckGapIsSaved(i);
    Trace("{} ms: {}{} {} {} at {}", w_.now_ms, i.is_zombie ? "zombie " : "task ", i.number,
          Text(status.code()),
          done.ok() ? (done.value() == StepResult::kWorked ? "worked" : "idle") : status.message(),
          i.task->position().v);
    if (options_.spill_bytes_max > 0)
      Note(Reach::spilled_to_the_bound,
           i.task->Snapshot().spilled_bytes >= options_.spill_bytes_max);
    Note(Reach::newer_claim_seen, status.message() == "a newer owner has claimed");
    return status;
  }
  void NoteGap(Instance& i, const TaskStatus& before, const TaskStatus& after) {
    const Offset next = after.position, first{next.v - (after.lost - before.lost)};
    Trace("    [{}, {}) is lost", first.v, next.v);
    if (next > w_.retained) throw Violation("lost what retention has not removed");
    Note(before.running ? Reach::gap_while_running : Reach::gap_at_start);
    Note(Reach::gap_without_checkpoint, w_.NewestCheckpoint() == nullptr);
    Note(Reach::gap_cut_where_a_sink_stands, after.cuts > before.cuts);
    Note(Reach::gap_behind_which_a_sink_stands,
         std::ranges::any_of(after.sinks, [&](const auto& s) { return s.committed > next; }));
    Note(Reach::gap_recorded_again, !w_.gaps.insert(first).second);
    Note(Reach::gap_of_a_zombie, i.is_zombie);
    Note(Reach::gap_behind_a_gap, !i.unread.empty() && i.unread.back().second == first);
    i.Lose(first, next);
    i.gap_unsaved = true;
  }
  // Nothing behind a gap is read before a checkpoint has it: after a crash, everybody must find the
  // same one.
  void CheckGapIsSaved(Instance& i) {
    if (!i.gap_unsaved || i.task->position() <= i.unread.back().second) return;
    if (!w_.saved.contains(i.unread))
      throw Violation("read on behind a gap that is in no checkpoint");
    i.gap_unsaved = false;
  }
  void Rebuild(size_t n) {
    Instance& old = *instances_[n];
    const bool was_zombie = old.is_zombie;
    // Its process believes that it owns the partition.
    const bool again = !was_zombie || w_.Fire(2);
    if (!again) {
      instances_.erase(instances_.begin() + static_cast<ptrdiff_t>(n));
      return;
    }
    auto process = old.crashed ? std::make_shared<Process>() : old.process;
    instances_[n] =
        std::make_unique<Instance>(w_, std::move(process), spec_, old.options, old.kinds);
    instances_[n]->is_zombie = was_zombie;
  }
  // A drained process has nothing to lose: it may exit, and the next one continues where it was.
  void Exit(size_t n) {
    CheckDrained(*instances_[n]);
    const bool was_zombie = instances_[n]->is_zombie;
    instances_.erase(instances_.begin() + static_cast<ptrdiff_t>(n));
    if (!was_zombie) Start(std::make_shared<Process>());
  }
  void CheckDrained(Instance& i) {
    const TaskStatus status = i.task->Snapshot();
    if (!status.running) return;  // the task had not started
    Note(Reach::drained);
    const Offset position = i.task->position();
    for (size_t sink = 0; sink < i.kinds.size(); ++sink)
      if (i.task->committed(sink) < position && position != w_.log.start)
        throw Violation(fmt::format("drained, but {} lacks offsets", kSinkNames[i.kinds[sink]]));
    // A zombie's entry may have taken the place of a deleted one; then it is not the newest.
    const bool owner = !w_.store.empty() && w_.store.rbegin()->first == status.epoch;
    if (owner && w_.restart < position) throw Violation("drained without a checkpoint");
  }

  template <typename Done>
  void StepUntil(Done done) {
    for (int64_t left = 5'000; !done(); --left) {
      if (left == 0) throw Violation("no progress after the faults have stopped");
      const Status status = Step(Owner());
      if (status.code() == StatusCode::kStop)
        throw Violation("stopped for a person without a reason: " + status.message());
      if (status.code() == StatusCode::kRebuild) {
        Rebuild(instances_.size() - 1);
      } else if (Owner().task->drained() && !done()) {
        // It was told to drain while there were faults.
        Exit(instances_.size() - 1);
      } else if (w_.prng.OneIn(4)) {
        Sleep();
      }
    }
  }
  // Sleeps like the runtime: until the task is due, a write lands (which wakes the task), or the
  // log grows.
  void Sleep() {
    int64_t due = Owner().task->NextDue(w_.now_ms);
    if (due < w_.now_ms) throw Violation("due in the past");
    const bool grows = w_.visible < w_.log.end;
    if (grows) due = std::min(due, w_.now_ms + w_.prng.Below(20));
    // An answer of the store wakes the task.
    due = std::min(due, std::max(w_.now_ms, Owner().NextCall()));
    int64_t lands = PartitionTask::kNever;
    for (const UnderWay& write : w_.under_way) lands = std::min(lands, write.ready_ms);
    if (lands <= due && w_.prng.OneIn(2)) {
      due = std::max(lands, w_.now_ms);
      Owner().task->RetryNow();
    }
    if (due == PartitionTask::kNever && !Owner().task->caught_up() && !Owner().task->drained())
      throw Violation("it sleeps for ever although there is something to do");
    if (due != PartitionTask::kNever) w_.now_ms = due;
    if (grows) Grow();
    w_.LandReady(w_.now_ms);
  }

  bool StopsFor(Reach reason, const PipelineSpec& spec);
  void Respill(const Checkpoint& checkpoint);

  World w_;
  const PipelineSpec& spec_;
  PipelineSpec other_;  // of a start that must be refused
  const std::vector<SinkKind> kinds_;
  TaskOptions options_;
  const bool outages_;  // sinks are absent for long: what they lack is spilled
  // The one that is: the others go on without it. Behind the last sink: all of them.
  const size_t absent_;
  const bool gaps_;        // in some worlds, records are lost that nobody has counted
  const bool may_retain_;  // some worlds lose old records, the others lose checkpoints
  const bool switches_;    // in some worlds, sinks are switched off and on
  std::set<SinkKind> off_;
  const int64_t grow_one_in_;
  std::vector<std::unique_ptr<Instance>> instances_;  // zombies first, the owner last
  Instance* stepping_ = nullptr;  // the one whose turn it is, while there are faults
};

// ---- states in which a task must stop -----------------------------------------------------------

bool Run::StopsFor(Reach reason, const PipelineSpec& spec) {
  instances_.clear();
  w_.under_way.clear();
  instances_.push_back(
      std::make_unique<Instance>(w_, std::make_shared<Process>(), spec, options_, kinds_));
  for (int64_t left = 300; left > 0; --left) {
    w_.now_ms += w_.prng.Below(4);
    const Status status = Step(Owner());
    if (status.code() != StatusCode::kStop) continue;
    Note(reason);
    return true;
  }
  throw Violation(
      fmt::format("went on although it had to stop: {}", kReachNames[static_cast<size_t>(reason)]));
}

// Replaces the newest checkpoint by one whose segments are all spilled, to a run that is damaged or
// missing.
void Run::Respill(const Checkpoint& checkpoint) {
  const RunId id{w_.store.rbegin()->first, 1'000'000};
  std::string bytes = EncodeRun(checkpoint.sealed);
  std::vector<SpilledRun> runs = checkpoint.runs;
  runs.push_back(DescribeRun(id, checkpoint.sealed, std::ssize(bytes)));
  bytes.pop_back();
  for (const SpilledRun& run : runs) w_.ReplaceRun(run.id, std::nullopt);
  if (w_.prng.OneIn(2)) w_.ReplaceRun(id, bytes);
  std::string written;
  WriteCheckpoint(
      checkpoint.head, runs, {}, [&](const ByteSink& out) { out(checkpoint.state); },
      [&](std::string_view piece) { written += piece; });
  w_.ReplaceNewestCheckpoint(written);
}

// Checks that what was received plus what was lost is what was sent.
void Run::CheckSums(size_t sink) {
  const SinkState& state = StateOf(kinds_[sink]);
  int64_t elements = 0, counted = 0;
  for (const Entry& entry : w_.log.entries)
    if (std::ranges::none_of(state.lost, [&](const auto& range) {
          return entry.offset >= range.first && entry.offset < range.second;
        }))
      elements += std::ssize(entry.additions);
  if (elements != state.elements) throw Violation("received and lost is not what was sent");
  for (const auto& [key, n] : state.sums) counted += n;
  if (counted != state.counted) throw Violation("a sink's sums differ from its ledger");
  if (gaps_) return;  // behind a gap, the sums depend on the gap
  Sums expected;
  Offset from = w_.log.start;
  const auto expect = [&](Offset next) {
    for (const CountRow& row : w_.log.Expect(from, next).counts) expected[row.key] += row.count;
  };
  for (const auto& [first, next] : state.lost) {  // while it was switched off
    expect(first);
    from = next;
  }
  expect(w_.log.end);
  if (state.sums != expected) throw Violation("a sink's sums differ from the reference");
}

// Run after the end, with everything stopped: changes the state that the task left behind, and
// checks that the next task stops.
void Run::MustStop() {
  options_.on_gap = OnGap::kStop;
  const std::string* newest = w_.NewestCheckpoint();
  if (newest == nullptr || w_.log.start == w_.log.end) return;
  const Checkpoint checkpoint = ReadCheckpoint(*newest).value();
  const Offset next = checkpoint.head.next;
  const Offset first = !checkpoint.runs.empty()     ? checkpoint.runs.front().first
                       : !checkpoint.sealed.empty() ? checkpoint.sealed.front().first
                                                    : next;
  SinkState& sink = StateOf(kinds_.back() == kLiveSink ? kinds_.front() : kinds_.back());
  std::string bytes = *newest;
  PipelineSpec other = spec_;
  switch (w_.prng.Below(9)) {
    case 0:
      if (first == w_.log.start) return;
      sink.committed = {w_.log.start.v + w_.prng.Below(first.v - w_.log.start.v)};
      StopsFor(Reach::stop_sink_lost_data, spec_);
      return;
    case 1:
      if (first == checkpoint.head.origin) return;
      sink.committed = kNoneCommitted;
      StopsFor(Reach::stop_sink_lost_everything, spec_);
      return;
    case 2:
      for (const Segment& segment : checkpoint.sealed) {
        if (segment.next.v - segment.first.v < 2) continue;
        sink.committed = {segment.first.v + 1};
        StopsFor(Reach::stop_inside_a_segment, spec_);
        return;
      }
      return;
    case 3:
      sink.committed = {w_.log.end.v + 1};
      StopsFor(Reach::stop_beyond_the_end, spec_);
      return;
    case 4:
      w_.retained = {next.v + 1};
      StopsFor(Reach::stop_retention_passed_checkpoint, spec_);
      return;
    case 5:
      w_.WipeStore();
      sink.committed = w_.log.start;
      w_.retained = {w_.log.start.v + 1};
      StopsFor(Reach::stop_retention_passed_committed, spec_);
      return;
    case 6:
      bytes[static_cast<size_t>(w_.prng.Below(std::ssize(bytes)))] ^=
          static_cast<char>(1 << w_.prng.Below(8));
      w_.DamageNewestCheckpoint(bytes);
      StopsFor(Reach::stop_damaged_checkpoint, spec_);
      return;
    case 7:
      if (checkpoint.sealed.empty()) return;
      Respill(checkpoint);
      sink.committed = first;
      StopsFor(Reach::stop_damaged_run, spec_);
      return;
    default:
      ++other.dedup_horizon.v;
      StopsFor(Reach::stop_other_settings, other);
  }
}

}  // namespace

void RunSeed(uint64_t seed) {
  Prng prng{.state = seed};
  const PipelineSpec spec = RandomSpec(prng);
  if (const Status valid = spec.Validate(); !valid.ok()) throw Violation(valid.message());
  const std::vector<Message> topic = RandomTopic(prng, spec);
  const std::vector<std::vector<Verdict>> verdicts = Judge(spec, topic);
  // Where append times go back, what is forgotten depends on the order in each partition.
  const bool steady = std::ranges::is_sorted(topic, {}, &Message::append_time);
  const auto logs_of = [&](size_t partitions) {
    std::vector<Log> logs = Split(prng, spec, topic, verdicts, partitions);
    if (!steady)
      for (Log& log : logs) log = Without(log, {}, spec);
    return logs;
  };
  std::optional<Totals> totals;
  for (const size_t partitions : {1, 4, 16}) {
    Totals of_these;
    for (const Log& log : logs_of(partitions)) {
      RunOperator(prng, spec, log);
      of_these.Add(log.Expect(log.start, log.end));
    }
    if (!totals) totals = of_these;
    if (steady && *totals != of_these) throw Violation("sums depend on the number of partitions");
  }
  // Tests the engine, with everything that can go wrong. Each partition gets its own mix of faults.
  const size_t partitions = std::array<size_t, 3>{1, 4, 16}[seed % 3];
  for (const Log& log : logs_of(partitions)) {
    Run run(prng, spec, log);
    run.Faulty(prng.Below(200 + 40 * std::ssize(log.entries)));
    run.ToTheEnd();
    for (size_t sink = 0; sink < run.sinks(); ++sink) run.CheckSums(sink);
    if (prng.OneIn(2)) run.MustStop();
  }
}

}  // namespace sightline::sim
