// The ports in memory, as simple as their comments allow.
#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "base/check.h"
#include "harness.h"

namespace sightline::conformance {
namespace {

constexpr size_t kPadding = 64;

struct Topic {
  struct Stored {
    Offset first;
    AppendTime time;
    std::vector<std::string> payloads;  // each with its padding
    Offset next() const { return {first.v + static_cast<int64_t>(payloads.size())}; }
  };
  std::mutex mutex;
  std::deque<std::shared_ptr<const Stored>> batches;
  Offset oldest, end;
  AppendTime newest = kNoAppendTime;
};

class MemorySource final : public Source {
 public:
  explicit MemorySource(Topic& topic) : topic_(topic) {}
  Result<Offset> Earliest() override {
    const std::lock_guard lock(topic_.mutex);
    return topic_.oldest;
  }
  Status Seek(Offset next) override {
    const std::lock_guard lock(topic_.mutex);
    if (next < topic_.oldest) return Status::Stop("retention has passed it");
    if (next > topic_.end) return Status::Stop("beyond the end");
    next_ = next;
    return Status::Ok();
  }
  Result<Batch> Poll(int64_t records_max) override {
    const std::lock_guard lock(topic_.mutex);
    if (next_ < topic_.oldest) return Status::Stop("retention has passed it");
    Batch batch{.first = next_, .next = next_};
    for (const auto& stored : topic_.batches) {
      if (next_ < stored->first || next_ >= stored->next()) continue;
      batch.storage = stored;
      while (next_ < stored->next() && static_cast<int64_t>(batch.records.size()) < records_max) {
        const std::string& padded =
            stored->payloads[static_cast<size_t>(next_.v - stored->first.v)];
        batch.records.push_back(
            {next_, stored->time, std::string_view(padded).substr(0, padded.size() - kPadding)});
        ++next_.v;
      }
      break;
    }
    batch.next = next_;
    return batch;
  }

 private:
  Topic& topic_;
  Offset next_;
};

class MemorySourceHarness final : public SourceHarness {
 public:
  std::unique_ptr<Source> Open(int32_t partition) override {
    return std::make_unique<MemorySource>(topics_[static_cast<size_t>(partition)]);
  }
  void Append(int32_t partition, const std::vector<std::string>& payloads) override {
    Topic& topic = topics_[static_cast<size_t>(partition)];
    const std::lock_guard lock(topic.mutex);
    topic.newest = std::max(topic.newest, now_);
    auto stored = std::make_shared<Topic::Stored>();
    stored->first = topic.end;
    stored->time = topic.newest;
    for (const std::string& payload : payloads)
      stored->payloads.push_back(payload + std::string(kPadding, '\0'));
    topic.end = stored->next();
    topic.batches.push_back(std::move(stored));
  }
  void SetClock(int64_t now_ms) override { now_ = {now_ms}; }
  void Retain(AppendTime time) override {
    for (Topic& topic : topics_) {
      const std::lock_guard lock(topic.mutex);
      while (!topic.batches.empty() && topic.batches.front()->time < time) {
        topic.oldest = topic.batches.front()->next();
        topic.batches.pop_front();
      }
    }
  }
  void Reopen() override {}

 private:
  Topic topics_[2];
  AppendTime now_{1000};
};

struct Committed {
  Offset next = kNoneCommitted;
  int64_t owner = 0;
  Stored stored;
};
struct SinkState {
  std::mutex mutex;
  std::map<SourcePartition, Committed> partitions;
  int64_t last_owner = 0;
};

// A commit is applied by the call after the one that began it, if at all.
class MemorySink final : public Sink {
 public:
  explicit MemorySink(SinkState& state) : state_(state) {}
  Status Fence(const SourcePartition& partition, Epoch) override {
    const std::lock_guard lock(state_.mutex);
    owner_ = state_.partitions[partition].owner = ++state_.last_owner;
    pending_.clear();
    return Status::Ok();
  }
  Result<Offset> Committed(const SourcePartition& partition) override {
    const std::lock_guard lock(state_.mutex);
    return state_.partitions[partition].next;
  }
  Result<Offset> Commit(const SourcePartition& partition,
                        std::span<const Segment> segments) override {
    if (pending_.empty()) {
      pending_.assign(segments.begin(), segments.end());
      return Status::Retry("under way");
    }
    const std::vector<Segment> pending = std::exchange(pending_, {});
    const std::lock_guard lock(state_.mutex);
    conformance::Committed& committed = state_.partitions[partition];
    if (owner_ == 0 || committed.owner != owner_) return Status::Rebuild("fenced");
    const Offset next = pending.back().next;
    if (committed.next != kNoneCommitted && committed.next != pending.front().first) {
      if (committed.next == next) return next;
      return Status::Rebuild("compare-and-set");
    }
    for (const Segment& segment : pending) {
      MergeCounts(committed.stored.counts, std::vector<CountRow>(segment.counts));
      MergeLedger(committed.stored.ledger, std::vector<LedgerRow>(segment.ledger));
      committed.stored.dead_letters.insert(committed.stored.dead_letters.end(),
                                           segment.dead_letters.begin(),
                                           segment.dead_letters.end());
    }
    return committed.next = next;
  }

 private:
  SinkState& state_;
  int64_t owner_ = 0;
  std::vector<Segment> pending_;
};

class MemorySinkHarness final : public SinkHarness {
 public:
  std::unique_ptr<Sink> Open() override { return std::make_unique<MemorySink>(state_); }
  Stored Read(const SourcePartition& partition) override {
    const std::lock_guard lock(state_.mutex);
    return state_.partitions[partition].stored;
  }
  void Reopen() override {}

 private:
  SinkState state_;
};

struct StoreState {
  std::mutex mutex;
  std::map<SourcePartition, std::map<Epoch, std::optional<std::string>>> entries;
  std::map<SourcePartition, std::map<RunId, std::string>> runs;
};

class MemoryStore final : public CheckpointStore {
 public:
  explicit MemoryStore(StoreState& state) : state_(state) {}
  Result<StoredCheckpoint> Latest(const SourcePartition& partition) override {
    const std::lock_guard lock(state_.mutex);
    StoredCheckpoint stored;
    for (const auto& [epoch, checkpoint] : state_.entries[partition]) {
      stored.newest = epoch;
      if (checkpoint.has_value()) stored.checkpoint = checkpoint;
    }
    return stored;
  }
  Status PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                     const ByteSpool* spool) override {
    std::optional<std::string> checkpoint;
    if (spool != nullptr) checkpoint = spool->in_memory();
    const std::lock_guard lock(state_.mutex);
    const bool is_new = state_.entries[partition].try_emplace(epoch, std::move(checkpoint)).second;
    return is_new ? Status::Ok() : Status::Rebuild("taken");
  }
  Status PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) override {
    const std::lock_guard lock(state_.mutex);
    const bool is_new = state_.runs[partition].try_emplace(id, bytes).second;
    return is_new ? Status::Ok() : Status::Retry("taken");
  }
  Result<std::string> ReadRun(const SourcePartition& partition, RunId id) override {
    const std::lock_guard lock(state_.mutex);
    const auto run = state_.runs[partition].find(id);
    if (run == state_.runs[partition].end()) return Status::Stop("missing");
    return run->second;
  }
  Status RemoveRuns(const SourcePartition& partition, Epoch newest,
                    std::span<const RunId> kept) override {
    const std::lock_guard lock(state_.mutex);
    const auto& entries = state_.entries[partition];
    if (entries.empty() || entries.rbegin()->first != newest) return Status::Rebuild("not newest");
    std::erase_if(state_.runs[partition], [&](const auto& run) {
      return run.first.owner <= newest && std::ranges::find(kept, run.first) == kept.end();
    });
    return Status::Ok();
  }

 private:
  StoreState& state_;
};

class MemoryStoreHarness final : public StoreHarness {
 public:
  std::unique_ptr<CheckpointStore> Open() override { return std::make_unique<MemoryStore>(state_); }

 private:
  StoreState state_;
};

}  // namespace

std::unique_ptr<SourceHarness> MakeMemorySource() {
  return std::make_unique<MemorySourceHarness>();
}
std::unique_ptr<SinkHarness> MakeMemorySink() { return std::make_unique<MemorySinkHarness>(); }
std::unique_ptr<StoreHarness> MakeMemoryStore() { return std::make_unique<MemoryStoreHarness>(); }

}  // namespace sightline::conformance
