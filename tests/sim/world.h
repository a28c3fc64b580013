// The world: what survives a crash, what can go wrong on the way to it, and the ports through which
// a task touches it. No thread and no clock: time is a number.
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

// What one sink has of the partition.
struct SinkState {
  const char* name = "";
  Offset committed = kNoneCommitted;
  Sums sums;
  int64_t token = 0;  // of the newest fence
  int64_t down_until_ms = 0;
  int64_t counted = 0, elements = 0;  // as the ledgers say
  Ranges lost;                        // likewise
  // The topic's: by key of the group and cell, a running total up to `next`; compacted. And what
  // the group has lost.
  std::map<std::pair<Offset, CountKey>, std::pair<int64_t, Offset>> records;
  std::map<Offset, std::pair<int64_t, Offset>> lost_records;
};

// A write whose sender has stopped waiting for it.
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
  Offset visible;   // its end as of now
  Offset restart;   // where the newest checkpoint, if any, goes on
  SinkState topic{"topic"}, lake{"lake"}, remote{"remote"};
  std::map<Epoch, std::optional<std::string>> store;
  std::map<RunId, std::string> runs;
  // What the operator of a checkpoint has never read; and the log as it must be counted then.
  std::map<Epoch, Ranges> unread;
  std::map<Ranges, std::shared_ptr<const Log>> logs;  // shared: writes under way have it, too
  std::set<Offset> gaps;                              // where they began
  std::vector<UnderWay> under_way;
  bool faulty = true;
  int64_t crash_one_in = 0, fault_one_in = 0, owner_one_in = 0;

  bool Fire(int64_t one_in) { return faulty && prng.OneIn(one_in); }
  bool FailRead();
  // Segments are contiguous, say what the reference says of their offsets, and never change again.
  void Audit(SinkState& sink, std::span<const Segment> segments, const Log& read);
  std::shared_ptr<const Log> LogWithout(const Ranges& lost);
  // Lands what is ready.
  void LandReady();
  const std::string* NewestCheckpoint() const;
  std::vector<SpilledRun> NamedRuns() const;  // by that
  // Only what the newest checkpoint does not name.
  void RemoveRun(RunId id);
  // A task has read what a sink has committed.
  void NoteStart(SinkKind kind, Offset committed);
};

// A process: what it keeps in memory outlives a rebuilt task, not a crash.
struct Process {
  SinkState live{"live"};
};

// One life of a task: its ports, and what happens to them.
struct Instance {
  World& w;
  std::shared_ptr<Process> process;  // shared: the next task of the same process has it, too
  int number = 0;                    // for traces
  Write last = Write::kNothing;      // the newest durable write of this process
  bool crashed = false;
  bool is_zombie = false;
  int64_t asleep_until_ms = 0;
  std::vector<SinkKind> kinds;
  // What a follower of the list may still be cut at: every boundary that it was given, but for
  // those that the list then no longer had.
  std::set<Offset> followed;
  Ranges unread;                    // what its operator has not seen of the log
  std::shared_ptr<const Log> read;  // so this is what it must say
  std::unique_ptr<PartitionTask> task;

  Instance(World& world, std::shared_ptr<Process> process, const PipelineSpec& spec,
           const TaskOptions& options, std::vector<SinkKind> kinds);
  ~Instance();

  // Retention had passed it.
  void SetUnread(Ranges ranges);
  void Lose(Offset first, Offset next);

  using Unknown = Status (*)(std::string);  // what a sender says whose answer does not come
  // Every durable write passes here: done, refused, lost on the way, done without an answer, done
  // much later, or the process dies just before it (which is just after the one before).
  Status Do(Write write, Unknown unknown, std::function<Status()> apply);
  std::optional<Status> Disturbed(Write write);
};

}  // namespace sightline::sim
