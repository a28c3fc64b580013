// Ports in memory for the unit tests of this room. What they write to outlives them and is
// thread-safe. A test makes a call fail by setting the call's answer.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/partition_task.h"
#include "operators/decode.h"

namespace sightline {

// What survives a task: a log, sinks and checkpoints of one partition.
struct TestWorld {
  struct SinkState {
    Offset committed = kNoneCommitted;
    int64_t counted = 0;
    std::vector<Gap> gaps;         // what its ledger says is lost
    int64_t calls = 0;             // of Commit
    int64_t segments = 0;          // of the newest commit
    int64_t rows_together = 0;     // the most of a commit of several segments
    std::optional<Status> answer;  // of Commit, instead of doing it
  };
  mutable std::mutex mutex;
  std::condition_variable changed;  // a sink has committed
  std::vector<std::string> records;
  Offset earliest;
  std::vector<SinkState> sinks;
  std::map<Epoch, std::optional<std::string>> store;
  std::map<RunId, std::string> runs;
  std::optional<Status> poll_answer, put_answer, put_run_answer;
  // Called by the put of a checkpoint or claim, without the mutex, unless on_put_done.
  std::function<void()> on_put;
  std::atomic<bool> on_put_done = false;

  explicit TestWorld(size_t sink_count = 1) : sinks(sink_count) {}

  // Appends `n` detections of one camera, a second apart. No id occurs twice.
  void Append(int64_t n = 1) {
    const std::lock_guard lock(mutex);
    for (; n > 0; --n) {
      const auto id = static_cast<int64_t>(records.size());
      records.push_back(
          fmt::format(R"({{"geographical_location_oid":1,"video_camera_oid":2,"detection_oid":{},)"
                      R"("item_name":"cup","timestamp_detected":{}}})",
                      id, 1'000 * id));
    }
  }
  SinkState Sink(size_t sink) const {
    const std::lock_guard lock(mutex);
    return sinks[sink];
  }
  void Answer(size_t sink, std::optional<Status> answer) {
    const std::lock_guard lock(mutex);
    sinks[sink].answer = std::move(answer);
  }
  bool WaitForCounted(size_t sink, int64_t counted, std::chrono::milliseconds most) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, most, [&] { return sinks[sink].counted >= counted; });
  }
};

class TestSource final : public Source {
 public:
  explicit TestSource(TestWorld* world) : w_(*world) {}
  Result<Offset> Earliest() override {
    const std::lock_guard lock(w_.mutex);
    return w_.earliest;
  }
  Status Seek(Offset next) override {
    const std::lock_guard lock(w_.mutex);
    if (next < w_.earliest) return Status::Stop("retention has passed it");
    if (next.v > std::ssize(w_.records)) return Status::Stop("it lies beyond the end");
    next_ = next;
    return Status::Ok();
  }
  Result<Batch> Poll(int64_t records_max) override {
    const std::lock_guard lock(w_.mutex);
    if (w_.poll_answer) return *w_.poll_answer;
    if (next_ < w_.earliest) return Status::Stop("retention has passed it");
    const int64_t end = std::min<int64_t>(std::ssize(w_.records), next_.v + records_max);
    auto block = std::make_shared<std::vector<std::string>>();
    Batch batch{.first = next_, .next = {end}};
    for (int64_t i = next_.v; i < end; ++i) {
      block->push_back(w_.records[static_cast<size_t>(i)] + std::string(kDecodePadding, ' '));
      batch.records.push_back({.offset = {i}, .append_time = {1'000 * i}});
    }
    for (size_t i = 0; i < block->size(); ++i)
      batch.records[i].payload =
          std::string_view((*block)[i]).substr(0, (*block)[i].size() - kDecodePadding);
    batch.storage = std::move(block);
    next_ = batch.next;
    return batch;
  }

 private:
  TestWorld& w_;
  Offset next_;
};

class TestSink final : public Sink {
 public:
  TestSink(TestWorld* world, size_t sink) : w_(*world), sink_(sink) {}
  Status Fence(const SourcePartition&, Epoch) override { return Status::Ok(); }
  Result<Offset> Committed(const SourcePartition&) override { return w_.Sink(sink_).committed; }
  Result<Offset> Commit(const SourcePartition&, std::span<const Segment> segments) override {
    const std::lock_guard lock(w_.mutex);
    TestWorld::SinkState& sink = w_.sinks[sink_];
    ++sink.calls;
    if (sink.answer) return *sink.answer;
    if (sink.committed != kNoneCommitted && sink.committed != segments.front().first)
      return Status::Rebuild("compare-and-set");
    for (const Segment& segment : segments) {
      for (const CountRow& row : segment.counts) sink.counted += row.count;
      if (const int64_t lost = segment.Total().lost; lost > 0) {
        CHECK(segment.IsGap() && lost == segment.next.v - segment.first.v);
        sink.gaps.push_back({segment.first, segment.next});
      }
    }
    sink.segments = std::ssize(segments);
    int64_t rows = 0;
    for (const Segment& segment : segments) rows += static_cast<int64_t>(segment.rows());
    if (sink.segments > 1) sink.rows_together = std::max(sink.rows_together, rows);
    sink.committed = segments.back().next;
    w_.changed.notify_all();
    return sink.committed;
  }

 private:
  TestWorld& w_;
  const size_t sink_;
};

class TestStore final : public CheckpointStore {
 public:
  explicit TestStore(TestWorld* world) : w_(*world) {}
  Result<StoredCheckpoint> Latest(const SourcePartition&) override {
    const std::lock_guard lock(w_.mutex);
    StoredCheckpoint stored;
    for (const auto& [epoch, checkpoint] : w_.store) {
      stored.newest = epoch;
      if (checkpoint) stored.checkpoint = checkpoint;
    }
    return stored;
  }
  Status PutIfAbsent(const SourcePartition&, Epoch epoch, const ByteSpool* checkpoint) override {
    std::optional<std::string> entry;
    if (checkpoint != nullptr) entry = checkpoint->in_memory();
    if (w_.on_put && !w_.on_put_done) w_.on_put();
    const std::lock_guard lock(w_.mutex);
    if (checkpoint != nullptr && w_.put_answer) return *w_.put_answer;
    if (!w_.store.try_emplace(epoch, std::move(entry)).second)
      return Status::Rebuild("the epoch is taken");
    return Status::Ok();
  }
  Status PutRun(const SourcePartition&, RunId id, std::string_view bytes) override {
    const std::lock_guard lock(w_.mutex);
    if (w_.put_run_answer) return *w_.put_run_answer;
    return w_.runs.try_emplace(id, bytes).second ? Status::Ok() : Status::Retry("taken");
  }
  Result<std::string> ReadRun(const SourcePartition&, RunId id) override {
    const std::lock_guard lock(w_.mutex);
    const auto run = w_.runs.find(id);
    if (run == w_.runs.end()) return Status::Stop("run is missing");
    return run->second;
  }
  Status RemoveRuns(const SourcePartition&, Epoch newest, std::span<const RunId> kept) override {
    const std::lock_guard lock(w_.mutex);
    if (w_.store.empty() || w_.store.rbegin()->first != newest)
      return Status::Rebuild("a newer owner has claimed");
    std::erase_if(w_.runs, [&](const auto& run) {
      return run.first.owner <= newest && std::ranges::find(kept, run.first) == kept.end();
    });
    return Status::Ok();
  }

 private:
  TestWorld& w_;
};

// The spec of the tests. Everything is counted, because each record is a second later than the one
// before.
inline PipelineSpec TestSpec() { return {}; }

// The sinks that options.sinks_off names are switched off. Null: the store answers at once.
inline std::unique_ptr<PartitionTask> MakeTestTask(TestWorld* world, TaskOptions options,
                                                   SourcePartition partition = {"test", 0},
                                                   std::unique_ptr<StoreWorker> store = nullptr) {
  if (store == nullptr) store = std::make_unique<StoreAtOnce>(std::make_unique<TestStore>(world));
  TaskPorts ports{.source = std::make_unique<TestSource>(world), .store = std::move(store)};
  options.sinks.resize(world->sinks.size());
  for (size_t i = 0; i < world->sinks.size(); ++i) {
    if (options.sinks[i].name.empty()) options.sinks[i].name = fmt::format("sink {}", i);
    if (std::ranges::count(options.sinks_off, options.sinks[i].name) > 0) continue;
    ports.sinks.push_back(std::make_unique<TestSink>(world, i));
  }
  std::erase_if(options.sinks, [&](const SinkOptions& sink) {
    return std::ranges::count(options.sinks_off, sink.name) > 0;
  });
  return std::make_unique<PartitionTask>(std::move(partition), TestSpec(), std::move(options),
                                         std::move(ports));
}

}  // namespace sightline
