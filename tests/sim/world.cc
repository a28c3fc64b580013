#include "world.h"

#include <algorithm>
#include <deque>

#include "base/check.h"
#include "base/mutant.h"
#include "connectors/checkpoint_files/checkpoint_files.h"
#include "connectors/checkpoint_files/entry_file.h"
#include "connectors/storage/storage.h"
#include "engine/checkpoint.h"
#include "operators/decode.h"

namespace sightline::sim {
namespace {

int instances_born = 0;  // for traces, which a single thread writes

// ---- the source --------------------------------------------------------------------------------

class SimSource final : public Source {
 public:
  explicit SimSource(Instance& instance) : w_(instance.w) {}

  Result<Offset> Earliest() override {
    if (w_.FailRead()) return Status::Retry("earliest failed");
    return w_.retained;
  }

  Status Seek(Offset to) override {
    if (w_.FailRead()) return Status::Retry("seek failed");
    if (to < w_.retained) return Status::Stop("retention has passed it");
    if (to > w_.visible) return Status::Stop("it lies beyond the end");
    next_ = to;
    return Status::Ok();
  }

  Result<Batch> Poll(int64_t max) override {
    if (w_.FailRead()) return Status::Retry("poll failed");
    if (next_ < w_.retained) return Status::Stop("retention has passed the position");
    if (w_.Fire(3)) {
      Note(Reach::short_poll);
      max = w_.prng.Below(max);
    }
    // Dies with the batch, so that dangling views are noticed.
    auto block = std::make_shared<std::string>();
    Batch batch{.first = next_, .next = next_};
    std::vector<size_t> begins;
    auto it = w_.log.From(next_);
    for (; it != w_.log.entries.end() && it->offset < w_.visible && max > 0; ++it, --max) {
      begins.push_back(block->size());
      block->append(it->message->payload).append(kDecodePadding, '"');
      batch.records.push_back({it->offset, {it->message->append_time}, {}});
      batch.next = {it->offset.v + 1};
    }
    for (size_t i = 0; i < begins.size(); ++i) {
      const size_t end = i + 1 < begins.size() ? begins[i + 1] : block->size();
      batch.records[i].payload =
          std::string_view(*block).substr(begins[i], end - kDecodePadding - begins[i]);
    }
    if (max > 0) batch.next = w_.visible;  // the position skips holes now, or with the next record
    batch.storage = std::move(block);
    next_ = batch.next;
    return batch;
  }

 private:
  World& w_;
  Offset next_;
};

// ---- the sinks ---------------------------------------------------------------------------------

// A sink that is fenced by the last owner to come, compares and sets, and audits every commit.
class SimSink : public Sink {
 public:
  SimSink(Instance& instance, SinkKind kind, SinkState& state, Write fence, Write commit)
      : i_(instance), w_(instance.w), kind_(kind), state_(state), fence_(fence), commit_(commit) {}

  Status Fence(const SourcePartition&, Epoch) override {
    if (Down()) return Status::Retry("down");
    token_ = ++w_.tokens;
    return i_.Do(fence_, Status::Rebuild, [&s = state_, mine = token_] {
      s.token = mine;
      return Status::Ok();
    });
  }
  Result<Offset> Committed(const SourcePartition&) override {
    if (w_.FailRead() || Down()) return Status::Retry("committed failed");
    w_.NoteStart(kind_, state_.committed);
    i_.ExpectMissed(kind_, state_.committed);
    return state_.committed;
  }
  void Follow(const SourcePartition&, const SealedList& list) override {
    if (!list.runs().empty()) spilled_to_ = list.runs().back().next();
  }

 protected:
  // Checks that an offer ends where a follower of the list could be cut, too, if it has that much.
  void MustBeFollowed(std::span<const Segment> segments) const {
    Note(Reach::offer_in_runs_and_memory,
         segments.front().first < spilled_to_ && spilled_to_ < segments.back().next);
    if (i_.followed.empty() || Mutated(Mutant::kOneAccumulator)) return;
    // What a sink missed begins where it stood when it was switched off, which may be anywhere.
    const bool missed = segments.front().first == i_.missed[kind_].first && segments[0].IsGap();
    for (const Offset end :
         {missed ? segments.back().next : segments.front().first, segments.back().next})
      if (end >= *i_.followed.begin() && end <= *i_.followed.rbegin() && !i_.followed.contains(end))
        throw Violation("a sink is offered what a follower of the list cannot be cut at");
  }
  bool Down() {
    const bool down = w_.faulty && w_.now_ms < state_.down_until_ms;
    Note(Reach::sink_down, down);
    return down || (Vanished() && !Mutated(Mutant::kAnyFolder));
  }
  bool Vanished() { return w_.Vanished(state_.vanished_until_ms, Reach::sink_vanished); }
  // What a sink checks atomically with the write; nothing: go on and write.
  static std::optional<Status> Settled(const SinkState& s, int64_t mine, Offset first,
                                       Offset next) {
    if (s.token != mine && !Mutated(Mutant::kNoFence)) {
      Note(Reach::fenced);
      return Status::Rebuild("fenced");
    }
    const bool fits = s.committed == kNoneCommitted || s.committed == first;
    if (fits || Mutated(Mutant::kNoCompareAndSet)) return std::nullopt;
    Note(Reach::compare_and_set);
    if (s.committed == next) return Status::Ok();  // that commit was done already
    return Status::Rebuild("compare-and-set");
  }

  Instance& i_;
  World& w_;
  const SinkKind kind_;
  SinkState& state_;
  const Write fence_, commit_;
  int64_t token_ = -1;
  Offset spilled_to_;
};

// Lives in the process's memory, and is loaded from the lake after the lake is fenced. Each task
// loads it again: what an earlier task had counted beyond the lake may be cut differently now.
class LiveSink final : public Sink {
 public:
  explicit LiveSink(Instance& instance)
      : i_(instance), w_(instance.w), state_(instance.process->live) {}
  Status Fence(const SourcePartition&, Epoch) override { return Status::Ok(); }
  Result<Offset> Committed(const SourcePartition&) override {
    if (w_.FailRead()) return Status::Retry("committed failed");
    state_ = w_.lake;
    state_.name = "live";
    w_.NoteStart(kLiveSink, state_.committed);
    i_.ExpectMissed(kLiveSink, state_.committed);
    return state_.committed;
  }
  Result<Offset> Commit(const SourcePartition&, std::span<const Segment> segments) override {
    w_.Audit(state_, segments, *i_.read, i_.missed[kLiveSink]);
    i_.followed.insert(segments.front().first);
    for (const Segment& segment : segments) i_.followed.insert(segment.next);
    return state_.committed;
  }
  void Follow(const SourcePartition&, const SealedList& list) override {
    if (list.empty()) return;
    std::erase_if(i_.followed, [&](Offset boundary) {
      return boundary > list.first() && !list.IsBoundary(boundary);
    });
  }

 private:
  Instance& i_;
  World& w_;
  SinkState& state_;
};

// Writes running totals, keyed by the first offset of the group of segments that they cover. A
// reader takes the largest `next` per key and adds up the keys. A missing answer is an unknown
// outcome, which the next instance's fence decides.
class TopicSink final : public SimSink {
 public:
  using SimSink::SimSink;
  Result<Offset> Commit(const SourcePartition&, std::span<const Segment> segments) override {
    MustBeFollowed(segments);
    if (Down()) return Status::Retry("down");
    const bool new_group = commits_ % 4 == 0;
    const Offset key = new_group ? segments.front().first : group_;
    Sums sums = new_group ? Sums{} : totals_;
    for (const Segment& segment : segments)
      for (const CountRow& row : segment.counts) sums[row.key] += row.count;
    int64_t lost = new_group ? 0 : lost_;
    for (const Segment& segment : segments) lost += segment.Total().lost;
    std::vector<Segment> list(segments.begin(), segments.end());
    const Status done =
        i_.Do(commit_, Status::Rebuild,
              [&w = w_, &s = state_, mine = token_, key, sums, lost, list = std::move(list),
               log = i_.read, missed = i_.missed[kind_]] {
                if (auto settled = Settled(s, mine, list.front().first, list.back().next))
                  return *settled;
                for (const auto& [cell, n] : sums) {
                  auto& record = s.records[{key, cell}];
                  if (record.second <= list.back().next) record = {n, list.back().next};
                }
                if (lost > 0) s.lost_records[key] = {lost, list.back().next};
                w.Audit(s, list, *log, missed);
                int64_t all_lost = 0, in_ledgers = 0;
                for (const auto& [id, record] : s.lost_records) all_lost += record.first;
                for (const auto& [first, next] : s.lost) in_ledgers += next.v - first.v;
                if (all_lost != in_ledgers) throw Violation("the topic's lost offsets are wrong");
                Sums read;
                for (const auto& [id, record] : s.records) read[id.second] += record.first;
                if (read != s.sums) throw Violation("sums over the topic's keys are wrong");
                return Status::Ok();
              });
    if (!done.ok()) return done;
    group_ = key;
    totals_ = std::move(sums);
    lost_ = lost;
    ++commits_;
    return segments.back().next;
  }

 private:
  Offset group_;
  Sums totals_;
  int64_t lost_ = 0;
  int64_t commits_ = 0;
};

// If an answer is missing, the task may repeat the commit: the lake looks whether it is done.
class LakeSink final : public SimSink {
 public:
  using SimSink::SimSink;
  Result<Offset> Commit(const SourcePartition&, std::span<const Segment> segments) override {
    MustBeFollowed(segments);
    if (Down()) return Status::Retry("down");
    if (Vanished()) return segments.back().next;  // the planted bug: it lies in the other folder
    std::vector<Segment> list(segments.begin(), segments.end());
    const Status done =
        i_.Do(commit_, Status::Retry,
              [&w = w_, &s = state_, mine = token_, list = std::move(list), log = i_.read,
               missed = i_.missed[kind_]] {
                if (auto settled = Settled(s, mine, list.front().first, list.back().next))
                  return *settled;
                w.Audit(s, list, *log, missed);
                return Status::Ok();
              });
    if (!done.ok()) return done;
    return segments.back().next;
  }
};

// Writes in the background: kRetry until the answer is there.
class RemoteSink final : public SimSink {
 public:
  using SimSink::SimSink;
  Result<Offset> Commit(const SourcePartition&, std::span<const Segment> segments) override {
    MustBeFollowed(segments);
    if (Down()) return Status::Retry("down");
    if (pending_ != nullptr) return Answer(segments);
    if (auto disturbed = i_.Disturbed(commit_)) return *disturbed;
    pending_ = std::make_shared<Pending>();
    pending_->list.assign(segments.begin(), segments.end());
    w_.under_way.push_back({.ready_ms = w_.now_ms + 1 + w_.prng.Below(w_.prng.OneIn(2) ? 10 : 60),
                            .land = [&w = w_, &s = state_, mine = token_, write = pending_,
                                     log = i_.read, missed = i_.missed[kind_]] {
                              const std::vector<Segment>& list = write->list;
                              const auto settled =
                                  Settled(s, mine, list.front().first, list.back().next);
                              if (!settled) w.Audit(s, list, *log, missed);
                              write->answer = settled.value_or(Status::Ok());
                              const Status landed = *write->answer;
                              if (w.Fire(w.fault_one_in)) {
                                Note(Reach::lost_answer);
                                write->answer = Status::Rebuild("answer lost");
                              }
                              return landed;
                            }});
    return Status::Retry("under way");
  }

 private:
  struct Pending {
    std::vector<Segment> list;
    std::optional<Status> answer;
  };
  Result<Offset> Answer(std::span<const Segment> segments) {
    const Offset first = pending_->list.front().first;
    const Offset next = pending_->list.back().next;
    const bool holds = std::ranges::any_of(segments, [&](const auto& s) { return s.next == next; });
    if (segments.front().first != first || !holds)
      throw Violation("an offered list was not offered again");
    Note(Reach::merged_while_under_way, segments.size() < pending_->list.size());
    if (!pending_->answer) return Status::Retry("under way");
    const Status answer = *pending_->answer;
    pending_.reset();
    Note(answer.ok() ? Reach::under_way_answered : Reach::under_way_refused);
    if (!answer.ok()) return answer;
    i_.last = commit_;
    return next;
  }
  // Shared with the write, which may land after this sink is gone.
  std::shared_ptr<Pending> pending_;
};

// ---- the checkpoint store ----------------------------------------------------------------------

const SourcePartition kPartition{"sim", 0};

bool IsEntry(std::string_view path) { return path.ends_with(".entry"); }
bool IsRun(std::string_view path) { return path.ends_with(".run"); }
bool IsBody(std::string_view path) { return path.ends_with(".body"); }
Epoch EpochOf(std::string_view path) {
  const std::string name(path.substr(path.rfind('/') + 1));
  return {std::stoll(name.substr(0, 20))};
}
RunId RunOf(std::string_view path) {
  const std::string name(path.substr(path.rfind('/') + 1));
  return {{std::stoll(name.substr(0, 20))}, std::stoll(name.substr(21, 20))};
}
std::string FolderOf(std::string_view path) { return std::string(path.substr(0, path.rfind('/'))); }

// The storage as one task's store sees it. Each of its writes may be refused, torn, lost on the way
// or done without an answer, and the process may die before it.
class SimStorage final : public Storage {
 public:
  SimStorage(World& world, Instance* instance) : w_(world), i_(instance) {}

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override {
    RETURN_IF_ERROR(Reachable());
    const auto file = w_.files.find(path);
    if (Vanished() || file == w_.files.end()) return std::optional<std::string>();
    return std::optional(file->second.substr(static_cast<size_t>(range.first),
                                             static_cast<size_t>(range.next - range.first)));
  }
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override {
    if (i_ != nullptr && i_->crashed) return Status::Rebuild("crash");
    if (const Status away = Away(); !away.ok()) return away;
    if (Vanished()) return PutOutcome::kWritten;  // the planted bug: it lies in the other folder
    const std::string& path = files[0].path;
    std::string bytes(static_cast<size_t>(files[0].content.size()), '\0');
    CHECK(files[0].content.Read(0, bytes).ok());
    const Status put = Do(WriteOf(path), Status::Rebuild,
                          [&w = w_, path, bytes, if_absent = mode == PutMode::kIfAbsent,
                           unread = unread_] { return w.PutFile(path, bytes, if_absent, unread); });
    // While it waits for the answer that is lost, what others have under way lands, and they go on.
    if (put.code() == StatusCode::kRebuild) {
      const bool was_taken = w_.files.contains(path);
      if (IsEntry(path) && w_.meanwhile) w_.meanwhile();
      Note(Reach::epoch_taken_before_a_lost_answer, !was_taken && w_.files.contains(path));
      w_.LandReady(w_.now_ms + w_.prng.Below(40));
    }
    if (put.ok()) return PutOutcome::kWritten;
    if (put.code() == StatusCode::kStop) return PutOutcome::kTaken;
    if (put.code() == StatusCode::kRetry && w_.Fire(2)) {
      Note(Reach::torn_put);
      w_.files[fmt::format("{}/{}{}", FolderOf(path), kPutPrefix, ++w_.torn_puts)] =
          bytes.substr(0, bytes.size() / 2);
    }
    return put;
  }
  Result<std::vector<FileInfo>> List(std::string_view directory) override {
    RETURN_IF_ERROR(Reachable());
    std::vector<FileInfo> found;
    if (Vanished()) return found;
    const std::string prefix = std::string(directory) + "/";
    for (auto it = w_.files.lower_bound(prefix);
         it != w_.files.end() && it->first.starts_with(prefix); ++it)
      found.push_back({it->first, std::ssize(it->second)});
    return found;
  }
  Result<std::optional<FileInfo>> Stat(std::string_view) override {
    return Status::Stop("nobody asks for it");
  }
  Status Delete(std::string_view path) override {
    if (i_ != nullptr && i_->crashed) return Status::Retry("crash");
    RETURN_IF_ERROR(Away());
    if (Vanished()) return Status::Ok();
    const std::string name(path);
    if (IsRun(path) && i_ != nullptr)
      Note(Reach::run_of_an_older_owner_removed, !i_->runs_put.contains(RunOf(path)));
    return Do(IsRun(path) ? Write::kRemoveRuns : Write::kRemoveOlder, Status::Retry,
              [&w = w_, name] {
                w.RemoveFile(name);
                return Status::Ok();
              });
  }

  // Whether the next entry is a claim.
  void SetClaim(bool is_claim) { is_claim_ = is_claim; }
  // What the operator of the next checkpoint had not read when it was written.
  void SetUnread(Ranges unread) { unread_ = std::move(unread); }
  // The task is gone, and its thread finishes the call that is under way.
  void Orphan() { i_ = nullptr; }

 private:
  Write WriteOf(std::string_view path) const {
    if (IsRun(path)) return Write::kRun;
    if (IsBody(path) || !IsEntry(path)) return Write::kBody;
    return is_claim_ ? Write::kClaim : Write::kPut;
  }
  Status Do(Write write, Instance::Unknown unknown, std::function<Status()> apply) {
    if (i_ != nullptr) return i_->Do(write, unknown, std::move(apply));
    Note(Reach::store_call_of_a_dead_task);
    return apply();
  }
  Status Reachable() {
    if (i_ != nullptr && i_->crashed) return Status::Retry("crash");
    // A question to the store is several to its storage.
    if (w_.prng.OneIn(4) && w_.FailRead()) return Status::Retry("reading failed");
    return Away();
  }
  Status Away() {
    if (w_.Vanished(w_.store_away_until_ms, Reach::store_away)) return Status::Retry("away");
    // The store knows its folder, and says so.
    if (Vanished() && !Mutated(Mutant::kAnyFolder)) return Status::Stop("another folder");
    return Status::Ok();
  }
  bool Vanished() { return w_.Vanished(w_.store_vanished_until_ms, Reach::store_vanished); }

  World& w_;
  Instance* i_;
  Ranges unread_;
  bool is_claim_ = false;
};

// The real store, watched.
class WatchedStore final : public CheckpointStore {
 public:
  WatchedStore(Instance& instance, CheckpointFiles& files, SimStorage& storage)
      : i_(instance), w_(instance.w), files_(files), storage_(storage) {}

  Result<StoredCheckpoint> Latest(const SourcePartition& partition) override {
    Result<StoredCheckpoint> stored = files_.Latest(partition);
    if (!stored.ok() || i_.task->Snapshot().running) return stored;
    // Records what this start will continue from.
    i_.loaded = stored.value().checkpoint;
    if (i_.loaded) {
      const auto newest = std::ranges::find_if(w_.store.rbegin(), w_.store.rend(),
                                               [](const auto& e) { return e.second.has_value(); });
      i_.SetUnread(w_.unread[newest->first]);
    } else {
      i_.SetUnread({});
      if (w_.log.start < w_.retained) i_.Lose(w_.log.start, w_.retained);
    }
    return stored;
  }
  Status PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                     const ByteSpool* checkpoint) override {
    storage_.SetClaim(checkpoint == nullptr);
    return files_.PutIfAbsent(partition, epoch, checkpoint);
  }
  Status PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) override {
    Note(Reach::run_of_a_zombie, i_.is_zombie);
    i_.runs_put.insert(id);
    const Status put = files_.PutRun(partition, id, bytes);
    Note(Reach::spill_refused, !put.ok());
    return put;
  }
  Result<std::string> ReadRun(const SourcePartition& partition, RunId id) override {
    Result<std::string> run = files_.ReadRun(partition, id);
    Note(Reach::run_read, run.ok());
    Note(Reach::zombie_misses_a_run, run.status().code() == StatusCode::kStop);
    return run;
  }
  Status RemoveRuns(const SourcePartition& partition, Epoch newest,
                    std::span<const RunId> kept) override {
    const Status removed = files_.RemoveRuns(partition, newest, kept);
    Note(Reach::zombie_may_not_remove_runs, removed.code() == StatusCode::kRebuild && !i_.crashed);
    return removed;
  }

 private:
  Instance& i_;
  World& w_;
  CheckpointFiles& files_;
  SimStorage& storage_;
};

}  // namespace

// Makes the calls of one task's store when their time has come.
class SimWorker final : public StoreWorker {
 public:
  explicit SimWorker(Instance& instance)
      : StoreWorker(nullptr),
        w_(instance.w),
        i_(instance),
        storage_(std::make_shared<SimStorage>(instance.w, &instance)),
        files_(std::make_shared<CheckpointFiles>(storage_, "sim",
                                                 fmt::format("owner-{}", ++instance.w.owners))),
        watched_(instance, *files_, *storage_) {}
  ~SimWorker() override {
    if (calls_.empty()) return;
    Note(Reach::store_call_abandoned);
    if (i_.crashed || !w_.Fire(2)) return;
    // The call is under way, on a thread that outlives the task.
    storage_->Orphan();
    storage_->SetUnread(calls_.front().unread);
    w_.under_way.push_back({w_.now_ms + w_.prng.Below(200),
                            [storage = storage_, files = files_, job = calls_.front().job] {
                              job(*files);
                              return Status::Ok();
                            }});
  }

  void CallReady() {
    while (!calls_.empty() && calls_.front().ready_ms <= w_.now_ms && !i_.crashed) {
      const Call call = std::move(calls_.front());
      calls_.pop_front();
      storage_->SetUnread(call.unread);
      call.job(watched_);
    }
  }
  int64_t NextCall() const {
    return calls_.empty() ? PartitionTask::kNever : calls_.front().ready_ms;
  }

 private:
  struct Call {
    int64_t ready_ms = 0;
    Ranges unread;
    Job job;
  };
  void Submit(Job job) override {
    int64_t ready_ms = w_.now_ms;
    if (w_.slow_store) ready_ms += w_.prng.Below(w_.Fire(10) ? 500 : 15);
    if (!calls_.empty()) ready_ms = std::max(ready_ms, calls_.back().ready_ms);
    calls_.push_back({ready_ms, i_.unread, std::move(job)});
    CallReady();
  }

  World& w_;
  Instance& i_;
  // Shared with a call that is under way when the task is gone.
  const std::shared_ptr<SimStorage> storage_;
  const std::shared_ptr<CheckpointFiles> files_;
  WatchedStore watched_;
  std::deque<Call> calls_;
};

namespace {

std::unique_ptr<Sink> MakeSink(Instance& instance, SinkKind kind) {
  World& w = instance.w;
  switch (kind) {
    case kLiveSink:
      return std::make_unique<LiveSink>(instance);
    case kTopicSink:
      return std::make_unique<TopicSink>(instance, kind, w.topic, Write::kFenceTopic,
                                         Write::kTopic);
    case kLakeSink:
      return std::make_unique<LakeSink>(instance, kind, w.lake, Write::kFenceLake, Write::kLake);
    case kRemoteSink:
      return std::make_unique<RemoteSink>(instance, kind, w.remote, Write::kFenceRemote,
                                          Write::kRemote);
    case kSinkKinds:
      break;
  }
  return nullptr;
}

}  // namespace

// ---- the world ---------------------------------------------------------------------------------

bool World::FailRead() {
  if (!Fire(fault_one_in)) return false;
  Note(Reach::failed_read);
  return true;
}

bool World::Vanished(int64_t until_ms, Reach what) {
  const bool vanished = faulty && now_ms < until_ms;
  Note(what, vanished);
  return vanished;
}

std::shared_ptr<const Log> World::LogWithout(const Ranges& lost) {
  std::shared_ptr<const Log>& judged = logs[lost];
  if (judged == nullptr) judged = std::make_shared<const Log>(Without(log, lost, spec));
  return judged;
}

void World::Audit(SinkState& sink, std::span<const Segment> segments, const Log& read, Gap missed) {
  for (const Segment& segment : segments) {
    Trace("    {} takes [{}, {})", sink.name, segment.first.v, segment.next.v);
    const Offset due = sink.committed == kNoneCommitted ? log.start : sink.committed;
    if (segment.first != due)
      throw Violation(fmt::format("{}: committed segments overlap or leave a hole", sink.name));
    const Ledger total = segment.Total();
    if (segment.first >= missed.first && segment.next <= missed.next) {
      Note(Reach::missed_committed);
      MustEqual(segment, GapSegment(segment.first, segment.next, kBeforeAllTime));
    } else {
      MustEqual(segment, read.Expect(segment.first, segment.next));
    }
    if (!total.Balanced()) throw Violation("the ledger does not add up");
    if (segment.IsGap() != (total.lost > 0)) throw Violation("lost beside counted offsets");
    if (segment.IsGap()) sink.lost.emplace_back(segment.first, segment.next);
    sink.counted += total.of(Outcome::kCounted);
    sink.elements += total.received + total.heartbeats;
    sink.committed = segment.next;
    for (const CountRow& row : segment.counts) sink.sums[row.key] += row.count;
  }
}

Status World::PutFile(const std::string& path, const std::string& bytes, bool if_absent,
                      const Ranges& unread_by_checkpoint) {
  if (if_absent && files.contains(path)) {
    Note(Reach::epoch_taken, IsEntry(path));
    return Status::Stop("taken");
  }
  files[path] = bytes;
  if (!IsEntry(path)) return Status::Ok();
  const Epoch epoch = EpochOf(path);
  const StoredEntry entry = DecodeEntry(bytes, path, kPartition, epoch).value();
  if (!entry.body) {
    store[epoch] = std::nullopt;
    return Status::Ok();
  }
  const auto body = files.find(FolderOf(path) + "/" + entry.body->name);
  // Nobody looks at an entry that lands behind the newest one, and its body may be removed by then.
  const bool is_newest = store.empty() || epoch > store.rbegin()->first;
  if (body == files.end() && is_newest) throw Violation("an entry names a body that is not there");
  if (body == files.end()) return Status::Ok();
  store[epoch] = body->second;
  unread[epoch] = unread_by_checkpoint;
  saved.insert(unread_by_checkpoint);
  const Offset next = ReadCheckpoint(body->second).value().head.next;
  if (epoch == store.rbegin()->first) restart = next;
  Trace("    checkpoint {} holds everything up to {}", epoch.v, next.v);
  for (const SinkState* sink : {&topic, &lake, &remote})
    Note(Reach::checkpoint_in_replay, next < sink->committed);
  const std::vector<SpilledRun> runs = NamedRuns();
  Note(Reach::runs_at_checkpoint, !runs.empty());
  for (const SpilledRun& run : runs)
    if (!files.contains(CheckpointFiles::RunPath(kPartition, run.id)))
      throw Violation("the newest checkpoint names a run that is not there");
  return Status::Ok();
}

void World::RemoveFile(const std::string& path) {
  Trace("    {} is removed", path);
  if (IsRun(path)) {
    Note(Reach::run_removed);
    for (const SpilledRun& run : NamedRuns())
      if (run.id == RunOf(path))
        throw Violation("a run was removed that the newest checkpoint names");
  }
  if (IsEntry(path)) {
    const Epoch epoch = EpochOf(path);
    const auto is_newer = [&](const auto& entry) { return entry.first > epoch && entry.second; };
    if (std::ranges::none_of(store, is_newer))
      throw Violation("an entry was removed that lies behind no checkpoint");
    store.erase(epoch);
  }
  if (IsBody(path)) {
    Note(Reach::body_removed);
    const auto newest = std::ranges::find_if(store.rbegin(), store.rend(),
                                             [](const auto& e) { return e.second.has_value(); });
    if (newest != store.rend() && NewestBody() == path)
      throw Violation("the body of the newest checkpoint was removed");
  }
  files.erase(path);
}

std::string World::NewestBody() const {
  std::string newest;
  for (const auto& [path, bytes] : files) {
    if (!IsEntry(path)) continue;
    const StoredEntry entry = DecodeEntry(bytes, path, kPartition, EpochOf(path)).value();
    if (entry.body) newest = FolderOf(path) + "/" + entry.body->name;
  }
  return newest;
}

void World::WipeStore() {
  files.clear();
  store.clear();
}

void World::ReplaceNewestCheckpoint(const std::string& bytes) {
  const std::string path = NewestBody();
  DamageNewestCheckpoint(bytes);
  for (auto& [name, file] : files) {
    if (!IsEntry(name)) continue;
    StoredEntry entry = DecodeEntry(file, name, kPartition, EpochOf(name)).value();
    if (!entry.body || !path.ends_with(entry.body->name)) continue;
    Crc crc;
    crc.Add(bytes);
    entry.body->size = std::ssize(bytes);
    entry.body->crc = crc.value();
    file = EncodeEntry(kPartition, EpochOf(name), entry);
    store[EpochOf(name)] = bytes;
  }
}

void World::DamageNewestCheckpoint(const std::string& bytes) { files[NewestBody()] = bytes; }

void World::ReplaceRun(RunId id, const std::optional<std::string>& bytes) {
  const std::string path = CheckpointFiles::RunPath(kPartition, id);
  files.erase(path);
  if (bytes) files[path] = EncodeRunFile(kPartition, id, *bytes);
}

void World::LandReady(int64_t until_ms) {
  for (size_t i = 0; i < under_way.size();) {
    if (under_way[i].ready_ms > until_ms) {
      ++i;
      continue;
    }
    const std::function<Status()> land = std::move(under_way[i].land);
    under_way.erase(under_way.begin() + static_cast<ptrdiff_t>(i));
    const Status landed = land();
    Trace("    a write lands: {}", landed.ok() ? "done" : landed.message());
    Note(landed.ok() ? Reach::late_write_landed : Reach::late_write_refused);
  }
}

void World::NoteStart(SinkKind kind, Offset committed) {
  constexpr Reach kAhead[] = {Reach::live_ahead, Reach::topic_ahead, Reach::lake_ahead,
                              Reach::remote_ahead};
  constexpr Reach kBehind[] = {Reach::live_behind, Reach::topic_behind, Reach::lake_behind,
                               Reach::remote_behind};
  Trace("    {} has everything up to {}", kSinkNames[kind], committed.v);
  const bool has_any = committed != kNoneCommitted;
  Note(kAhead[kind], has_any && committed > restart);
  Note(kBehind[kind], has_any && committed < restart);
  for (const SpilledRun& run : NamedRuns()) {
    Note(Reach::started_with_runs);
    Note(Reach::run_cut_where_a_sink_stands, run.first < committed && committed < run.next());
  }
  Note(Reach::nothing_committed_at_checkpoint, !has_any && NewestCheckpoint() != nullptr);
}

const std::string* World::NewestCheckpoint() const {
  for (auto it = store.rbegin(); it != store.rend(); ++it)
    if (it->second) return &*it->second;
  return nullptr;
}

std::vector<SpilledRun> World::NamedRuns() const {
  const std::string* newest = NewestCheckpoint();
  if (newest == nullptr) return {};
  return ReadCheckpoint(*newest).value().runs;
}

// ---- an instance -------------------------------------------------------------------------------

Instance::Instance(World& world, std::shared_ptr<Process> its_process, const PipelineSpec& spec,
                   const TaskOptions& task_options, std::vector<SinkKind> sink_kinds)
    : w(world),
      process(std::move(its_process)),
      number(tracing ? ++instances_born : 0),
      kinds(std::move(sink_kinds)),
      options(task_options),
      read(&world.log, [](const Log*) {}) {
  TaskPorts ports{.source = std::make_unique<SimSource>(*this), .store = nullptr};
  auto calls = std::make_unique<SimWorker>(*this);
  worker = calls.get();
  ports.store = std::move(calls);
  for (const SinkKind kind : kinds) ports.sinks.push_back(MakeSink(*this, kind));
  task = std::make_unique<PartitionTask>(kPartition, spec, options, std::move(ports));
}

void Instance::CallStore() { worker->CallReady(); }
int64_t Instance::NextCall() const { return worker->NextCall(); }

Instance::~Instance() {
  const TaskStatus status = task->Snapshot();
  Note(Reach::cut_at_committed, status.cuts);
  Note(Reach::reading_held_up, status.held_up);
  Note(Reach::merged, status.merges);
  Note(Reach::spilled, status.spills);
}

// The same rule as the task's, written down once more: from the first boundary at or behind its
// committed offset on, the checkpoint has everything for a sink that was off.
void Instance::ExpectMissed(SinkKind kind, Offset committed) {
  missed.erase(kind);
  if (!loaded) return;
  const Checkpoint checkpoint = ReadCheckpoint(*loaded).value();
  if (std::ranges::count(checkpoint.head.absent, kSinkNames[kind]) == 0) return;
  const Offset from = committed == kNoneCommitted ? checkpoint.head.origin : committed;
  std::set<Offset> boundaries = {checkpoint.head.next};
  for (const SpilledRun& run : checkpoint.runs) {
    boundaries.insert(run.first);
    boundaries.insert(run.boundaries.begin(), run.boundaries.end());
  }
  for (const Segment& segment : checkpoint.sealed) boundaries.insert(segment.first);
  const auto next = boundaries.lower_bound(from);
  if (next == boundaries.end()) return;  // it had gone on beyond the checkpoint
  Note(Reach::sink_off_takes_the_list, *next == from && from < checkpoint.head.next);
  if (*next == from) return;
  missed[kind] = {from, *next};
  Note(Reach::sink_off_missed_some);
  Note(Reach::sink_off_inside_a_segment, from > *boundaries.begin());
}

void Instance::SetUnread(Ranges ranges) {
  unread = std::move(ranges);
  read =
      unread.empty() ? std::shared_ptr<const Log>(&w.log, [](const Log*) {}) : w.LogWithout(unread);
}

// The ranges stay ascending and disjoint.
void Instance::Lose(Offset first, Offset next) {
  Ranges ranges = unread;
  while (!ranges.empty() && first <= ranges.back().second) {
    first = std::min(first, ranges.back().first);
    ranges.pop_back();
  }
  ranges.emplace_back(first, next);
  SetUnread(std::move(ranges));
}

// Every task starts, few spill: the rarer the place, the likelier a crash there.
int64_t Instance::CrashOneIn(Write write) const {
  if (write <= Write::kFenceRemote) return 5 * w.crash_one_in;
  if (write == Write::kRemoveRuns) return std::max(w.crash_one_in / 8, int64_t{2});
  int64_t one_in = w.crash_one_in;
  for (const Write at : {last, write})
    if (at == Write::kRun || at == Write::kRemote) one_in = std::max(one_in / 3, int64_t{2});
  return one_in;
}

std::optional<Status> Instance::Disturbed(Write write) {
  if (w.Fire(CrashOneIn(write))) {
    crashed = true;
    Note(Reach::crash);
    ++reached.crashes[static_cast<size_t>(last)][static_cast<size_t>(write)];
    return Status::Rebuild("crash");
  }
  if (w.Fire(w.fault_one_in)) {
    Note(Reach::refused_write);
    return Status::Retry("not done");
  }
  return std::nullopt;
}

Status Instance::Do(Write write, Unknown unknown, std::function<Status()> apply) {
  if (auto disturbed = Disturbed(write)) return *disturbed;
  if (w.Fire(w.fault_one_in)) {
    w.under_way.push_back({w.now_ms + w.prng.Below(40), std::move(apply)});
    return unknown("no answer");
  }
  const Status status = apply();
  if (status.ok() && write != Write::kBody && write != Write::kRemoveOlder) last = write;
  if (!status.ok() || !w.Fire(w.fault_one_in)) return status;
  Note(Reach::lost_answer);
  return unknown("answer lost");
}

}  // namespace sightline::sim
