// The world: what survives a crash, what can go wrong on the way to it, and the ports through which
// a task touches it. It has no thread and no clock: time is a number.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/partition_task.h"
#include "engine/settings_store.h"
#include "engine/store_worker.h"
#include "reach.h"
#include "reference.h"

namespace sightline::sim {

inline thread_local bool tracing = false;
template <typename... Args>
void Trace(fmt::format_string<Args...> text, Args&&... args) {
  if (tracing) fmt::print("{}\n", fmt::format(text, std::forward<Args>(args)...));
}

enum SinkKind : size_t { kLiveSink, kTopicSink, kLakeSink, kRemoteSink, kSinkKinds };
inline constexpr const char* kSinkNames[] = {"live", "topic", "lake", "remote"};

using Sums = std::map<CountKey, int64_t>;

// What one sink has stored of the partition.
struct SinkState {
  const char* name = "";
  Offset committed = kNoneCommitted;
  Sums sums;
  int64_t token = 0;  // of the newest fence
  int64_t down_until_ms = 0;
  int64_t vanished_until_ms = 0;      // an empty folder lies at its path, such as a mount point
  int64_t counted = 0, elements = 0;  // according to the ledgers
  Ranges lost;                        // according to the ledgers
  // Of the topic: a running total up to `next`, by the group's key and the cell, as after
  // compaction. And what each group has lost.
  std::map<std::pair<Offset, CountKey>, std::pair<int64_t, Offset>> records;
  std::map<Offset, std::pair<int64_t, Offset>> lost_records;
};

// A write whose sender no longer waits for it.
struct UnderWay {
  int64_t ready_ms = 0;
  std::function<Status()> land;
};

struct World {
  const Log& log;
  const PipelineSpec& spec;
  Prng& prng;
  int64_t now_ms = 0;
  int64_t tokens = 0;
  Offset retained;  // the earliest offset that the log still has
  Offset visible;   // the log's end as of now
  Offset restart;   // where the newest checkpoint, if any, continues
  SinkState topic{"topic"}, lake{"lake"}, remote{"remote"};
  // The storage of the checkpoints: the real store's files. What its entries say, a claim or a
  // checkpoint, is written down once more for the checks.
  std::map<std::string, std::string, std::less<>> files;
  std::map<Epoch, std::optional<std::string>> store;
  int64_t torn_puts = 0;
  int64_t owners = 0;
  std::optional<std::string> settings;  // of the pipeline, beside the checkpoints
  // The ranges that a checkpoint's operator has never read, and the log as it must then be counted.
  std::map<Epoch, Ranges> unread;
  std::map<Ranges, std::shared_ptr<const Log>> logs;  // shared with writes under way
  std::set<Offset> gaps;                              // where gaps began
  std::set<Ranges> saved;  // what some checkpoint's operator has never read
  // Lets other owners go on while one waits for an answer that is lost.
  std::function<void()> meanwhile;
  std::vector<UnderWay> under_way;
  int64_t store_vanished_until_ms = 0;  // the same of the folder of checkpoints
  int64_t store_away_until_ms = 0;      // its server does not answer
  bool slow_store = false;              // it answers later
  bool faulty = true;
  int64_t crash_one_in = 0, fault_one_in = 0, owner_one_in = 0;

  bool Fire(int64_t one_in) { return faulty && prng.OneIn(one_in); }
  bool FailRead();
  // Notes that a store is asked while another folder lies at its path.
  bool Vanished(int64_t until_ms, Reach what);
  // Checks that segments are contiguous, equal the reference for their offsets, and never change
  // again.
  // `missed` is what the sink was to record as lost because it was switched off.
  void Audit(SinkState& sink, std::span<const Segment> segments, const Log& read, Gap missed);
  std::shared_ptr<const Log> LogWithout(const Ranges& lost);
  // Applies the writes under way that are ready by then.
  void LandReady(int64_t until_ms);
  const std::string* NewestCheckpoint() const;
  std::vector<SpilledRun> NamedRuns() const;  // the runs that it names
  // A file of the storage, for good; kStop: the name is taken. An entry's body must be there.
  Status PutFile(const std::string& path, const std::string& bytes, bool if_absent,
                 const Ranges& unread_by_checkpoint);
  // The newest checkpoint must not need it.
  void RemoveFile(const std::string& path);
  std::string NewestBody() const;  // the path of the newest checkpoint's bytes; empty: none
  // As a person or a broken disk would.
  void WipeStore();
  void ReplaceNewestCheckpoint(const std::string& bytes);
  void DamageNewestCheckpoint(const std::string& bytes);
  void ReplaceRun(RunId id, const std::optional<std::string>& bytes);
  // Notes that a task has read a sink's committed offset.
  void NoteStart(SinkKind kind, Offset committed);
};

// The settings beside the world's checkpoints.
class WorldSettings final : public SettingsStore {
 public:
  explicit WorldSettings(World* world) : w_(*world) {}
  Result<std::optional<std::string>> Settings() override { return w_.settings; }
  Status PutSettingsIfAbsent(std::string_view text) override {
    if (!w_.settings) w_.settings = std::string(text);
    return Status::Ok();
  }
  Result<std::vector<SourcePartition>> Partitions() override {
    return std::vector<SourcePartition>{{}};
  }
  Result<std::optional<std::string>> NewestCheckpoint(const SourcePartition&) override {
    const std::string* const newest = w_.NewestCheckpoint();
    return newest == nullptr ? std::nullopt : std::optional(*newest);
  }

 private:
  World& w_;
};

class SimWorker;

// A process. What it keeps in memory outlives a rebuilt task, but not a crash.
struct Process {
  SinkState live{"live"};
};

// One life of a task: its ports, and what happens to them.
struct Instance {
  World& w;
  std::shared_ptr<Process> process;  // shared with the next task of the same process
  int number = 0;                    // for traces
  Write last = Write::kNothing;      // the newest durable write of this process
  bool crashed = false;
  bool is_done = false;  // its task has asked for a new one
  bool is_zombie = false;
  int64_t asleep_until_ms = 0;
  std::vector<SinkKind> kinds;
  const TaskOptions options;
  std::optional<std::string> loaded;  // the checkpoint from which it continues
  std::set<RunId> runs_put;           // by this task
  std::map<SinkKind, Gap> missed;     // what each sink must record as lost: it was switched off
  // Where a follower of the list may still be cut: every boundary that it was given, except those
  // that the list no longer had later.
  std::set<Offset> followed;
  Ranges unread;                    // the ranges of the log that its operator has not seen
  bool gap_unsaved = false;         // the last of them is in no checkpoint yet
  std::shared_ptr<const Log> read;  // so its segments must equal this log
  SimWorker* worker = nullptr;      // the task's
  std::unique_ptr<PartitionTask> task;

  Instance(World& world, std::shared_ptr<Process> process, const PipelineSpec& spec,
           const TaskOptions& options, std::vector<SinkKind> kinds);
  ~Instance();

  // Makes the calls of the store that are due; when the next one is, or kNever.
  void CallStore();
  int64_t NextCall() const;
  // Finds out what a sink that stands at `committed` has missed.
  void ExpectMissed(SinkKind kind, Offset committed);

  // Retention had passed these ranges before they were read.
  void SetUnread(Ranges ranges);
  void Lose(Offset first, Offset next);

  using Unknown = Status (*)(std::string);  // the status of a sender whose answer is missing
  // Every durable write passes through here. It is done, refused, lost on the way, done without an
  // answer, or done much later; or the process dies just before it (which is just after the one
  // before).
  Status Do(Write write, Unknown unknown, std::function<Status()> apply);
  std::optional<Status> Disturbed(Write write);
  int64_t CrashOneIn(Write write) const;
};

}  // namespace sightline::sim
