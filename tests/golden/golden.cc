// Runs the golden scripts. Each goes through the engine's own task with 1, 4 and 16 partitions,
// once without a restart and once with a crash after each of its messages. Each script is a test.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/murmur2.h"
#include "engine/partition_task.h"
#include "operators/decode.h"
#include "script.h"

namespace sightline::golden {
namespace {

constexpr int kStepsMax = 10'000;  // for one message: far more than any needs

// What survives a crash: the log, the sink's content and the checkpoints.
struct Partition {
  std::vector<std::pair<AppendTime, std::string>> log;  // the payloads, with padding
  Offset committed = kNoneCommitted;
  std::vector<Segment> segments;
  Epoch newest;
  std::optional<std::string> checkpoint;
  std::unique_ptr<PartitionTask> task;
};

class LogSource final : public Source {
 public:
  explicit LogSource(Partition& partition) : partition_(partition) {}
  Result<Offset> Earliest() override { return Offset{0}; }
  Status Seek(Offset next) override {
    next_ = next;
    return Status::Ok();
  }
  Result<Batch> Poll(int64_t records_max) override {
    // A copy, because the log's own strings move when it grows.
    auto storage = std::make_shared<std::vector<std::string>>();
    storage->reserve(partition_.log.size());
    Batch batch{.first = next_, .storage = storage};
    const auto end = static_cast<int64_t>(partition_.log.size());
    for (; next_.v < end && next_.v - batch.first.v < records_max; ++next_.v) {
      const auto& [append_time, bytes] = partition_.log[static_cast<size_t>(next_.v)];
      const std::string& copy = storage->emplace_back(bytes);
      batch.records.push_back({next_, append_time, {copy.data(), copy.size() - kDecodePadding}});
    }
    batch.next = next_;
    return batch;
  }

 private:
  Partition& partition_;
  Offset next_;
};

class LogSink final : public Sink {
 public:
  explicit LogSink(Partition& partition) : partition_(partition) {}
  Status Fence(const SourcePartition&, Epoch) override { return Status::Ok(); }
  Result<Offset> Committed(const SourcePartition&) override { return partition_.committed; }
  Result<Offset> Commit(const SourcePartition&, std::span<const Segment> segments) override {
    if (partition_.committed != kNoneCommitted && partition_.committed != segments.front().first)
      return Status::Rebuild("not at the committed offset");
    partition_.segments.insert(partition_.segments.end(), segments.begin(), segments.end());
    partition_.committed = segments.back().next;
    return partition_.committed;
  }

 private:
  Partition& partition_;
};

class MemoryStore final : public CheckpointStore {
 public:
  explicit MemoryStore(Partition& partition) : partition_(partition) {}
  Result<StoredCheckpoint> Latest(const SourcePartition&) override {
    return StoredCheckpoint{partition_.newest, partition_.checkpoint};
  }
  Status PutIfAbsent(const SourcePartition&, Epoch epoch, const ByteSpool* checkpoint) override {
    if (epoch.v != partition_.newest.v + 1) return Status::Rebuild("the epoch is taken");
    partition_.newest = epoch;
    if (checkpoint != nullptr) partition_.checkpoint = checkpoint->in_memory();
    return Status::Ok();
  }
  // No script has an absent sink, so nothing is ever spilled.
  Status PutRun(const SourcePartition&, RunId, std::string_view) override {
    return Status::Stop("no runs here");
  }
  Result<std::string> ReadRun(const SourcePartition&, RunId) override {
    return Status::Stop("no runs here");
  }
  Status RemoveRuns(const SourcePartition&, Epoch, std::span<const RunId>) override {
    return Status::Ok();
  }

 private:
  Partition& partition_;
};

struct Variant {
  int32_t partitions = 1;
  size_t restart_after = SIZE_MAX;  // after this many messages; SIZE_MAX: no restart
};

std::string ToString(const Variant& variant) {
  return fmt::format("{} partitions, {}", variant.partitions,
                     variant.restart_after == SIZE_MAX
                         ? "no restart"
                         : fmt::format("restart after message {}", variant.restart_after));
}

class Player {
 public:
  Player(const Script& script, const Variant& variant)
      : script_(script), variant_(variant), partitions_(static_cast<size_t>(variant.partitions)) {}

  void Play() {
    for (size_t i = 0; i < script_.messages.size(); ++i) {
      if (i == variant_.restart_after) Restart();
      PlayMessage(script_.messages[i]);
    }
    if (variant_.restart_after == script_.messages.size()) {
      Restart();
      for (size_t i = 0; i < partitions_.size(); ++i) CatchUp(i);
    }
    Cells counts, corrections;
    Ledger total;
    for (const Partition& partition : partitions_) {
      for (const Segment& segment : partition.segments) {
        total.Add(segment.Total());
        for (const CountRow& row : segment.counts) {
          const Cell cell{WindowStart(row.key.pane_start, script_.spec.window_size),
                          row.key.location, row.key.item};
          counts[cell] += row.count;
          if (row.key.kind == CountKind::kCorrection) corrections[cell] += row.count;
        }
      }
    }
    EXPECT_EQ(Lines(counts), Lines(script_.counts));
    if (script_.corrections && variant_.partitions == 1) {
      EXPECT_EQ(Lines(corrections), Lines(*script_.corrections));
    }
    EXPECT_TRUE(total.Balanced());
    EXPECT_EQ(LedgerOf(total), LedgerOf(script_));
  }

 private:
  void PlayMessage(const Message& message) {
    const size_t index = PartitionOf(message);
    Partition& partition = partitions_[index];
    const size_t before = partition.segments.size();
    partition.log.emplace_back(message.append_time,
                               message.payload + std::string(kDecodePadding, ' '));
    CatchUp(index);
    std::vector<std::string> outcomes;
    for (size_t i = before; i < partition.segments.size(); ++i)
      AddOutcomes(partition.segments[i], outcomes);
    std::sort(outcomes.begin(), outcomes.end());
    EXPECT_EQ(outcomes, message.outcomes) << "in line " << message.line;
  }

  // The partition that producers choose: by the camera of the first element. A message without one
  // goes to partition 0.
  size_t PartitionOf(const Message& message) {
    const std::string padded = message.payload + std::string(kDecodePadding, ' ');
    decoder_.Clear();
    std::vector<Event> events;
    decoder_.Decode({padded.data(), message.payload.size()}, events);
    for (const Event& event : events)
      if (event.kind != Event::Kind::kMalformed)
        return static_cast<size_t>(PartitionOfKey(event.camera.v, variant_.partitions));
    return 0;
  }

  void CatchUp(size_t index) {
    Partition& partition = partitions_[index];
    if (!partition.task) {
      // Checkpoints lie at varying distances from the restart.
      TaskOptions options{
          .sinks = {{.name = "golden"}}, .checkpoint_records_min = 3, .checkpoint_records_max = 3};
      TaskPorts ports{
          .source = std::make_unique<LogSource>(partition),
          .store = std::make_unique<StoreAtOnce>(std::make_unique<MemoryStore>(partition))};
      ports.sinks.push_back(std::make_unique<LogSink>(partition));
      partition.task =
          std::make_unique<PartitionTask>(SourcePartition{"golden", static_cast<int32_t>(index)},
                                          script_.spec, options, std::move(ports));
    }
    const Offset end{static_cast<int64_t>(partition.log.size())};
    for (int step = 0; partition.committed != end && end.v > 0; ++step) {
      const Result<StepResult> done = partition.task->Step(++now_ms_);
      CHECK(done.ok() && step < kStepsMax);
    }
  }

  void Restart() {
    for (Partition& partition : partitions_) partition.task.reset();
  }

  static void AddOutcomes(const Segment& segment, std::vector<std::string>& outcomes) {
    const Ledger total = segment.Total();
    auto add = [&](int64_t count, const std::string& name) {
      outcomes.insert(outcomes.end(), static_cast<size_t>(count), name);
    };
    add(total.of(Outcome::kCounted), "counted");
    add(total.of(Outcome::kDuplicate) - total.conflicts, "duplicate");
    add(total.conflicts, "conflict");
    add(total.of(Outcome::kOutside), "outside");
    add(total.heartbeats, "heartbeat");
    for (const DeadLetter& letter : segment.dead_letters) {
      std::string name(sightline::ToString(letter.outcome));
      if (letter.outcome == Outcome::kMalformed)
        name += fmt::format(" {}", sightline::ToString(letter.reason));
      outcomes.push_back(std::move(name));
    }
  }

  static std::vector<std::string> Lines(const Cells& cells) {
    std::vector<std::string> lines;
    for (const auto& [cell, count] : cells)
      lines.push_back(fmt::format("{} {} \"{}\" {}", FormatTime(cell.window), cell.location.v,
                                  cell.item, count));
    return lines;
  }

  using Sums = std::vector<std::pair<std::string, int64_t>>;
  static Sums LedgerOf(const Ledger& ledger) {
    Sums sums = {{"received", ledger.received}};
    for (size_t i = 0; i < kOutcomes; ++i)
      sums.emplace_back(sightline::ToString(static_cast<Outcome>(i)), ledger.outcomes[i]);
    sums.emplace_back("conflicts", ledger.conflicts);
    sums.emplace_back("heartbeats", ledger.heartbeats);
    return sums;
  }
  // Ledger numbers that a script does not name are 0.
  static Sums LedgerOf(const Script& script) {
    Sums sums = LedgerOf(Ledger{});
    size_t known = 0;
    for (auto& [name, value] : sums)
      if (const auto it = script.ledger.find(name); it != script.ledger.end()) {
        value = it->second;
        ++known;
      }
    EXPECT_EQ(known, script.ledger.size()) << "the ledger has no such sum";
    return sums;
  }

  const Script& script_;
  const Variant variant_;
  std::vector<Partition> partitions_;
  Decoder decoder_{script_.spec.decode};
  int64_t now_ms_ = 0;
};

class GoldenTest : public testing::Test {
 public:
  explicit GoldenTest(std::string path) : path_(std::move(path)) {}
  void TestBody() override {
    const Result<Script> script = ReadScript(path_);
    ASSERT_TRUE(script.ok()) << script.status().message();
    const std::vector<int32_t> partitions =
        script.value().partitions ? std::vector{*script.value().partitions} : std::vector{1, 4, 16};
    for (int32_t count : partitions) {
      PlayVariant(script.value(), {.partitions = count});
      for (size_t i = 0; i <= script.value().messages.size(); ++i)
        PlayVariant(script.value(), {.partitions = count, .restart_after = i});
    }
  }

 private:
  void PlayVariant(const Script& script, const Variant& variant) {
    if (HasFailure()) return;  // one failing variant is enough
    SCOPED_TRACE(fmt::format("{}: {} ({})", path_, script.title, ToString(variant)));
    Player(script, variant).Play();
  }
  std::string path_;
};

void Register(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  CHECK(!paths.empty());
  for (const auto& path : paths)
    testing::RegisterTest("Golden", path.stem().c_str(), nullptr, nullptr, path.c_str(), 1,
                          [=]() -> testing::Test* { return new GoldenTest(path.string()); });
}

}  // namespace
}  // namespace sightline::golden

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  CHECK(count == 2);  // the argument is the folder of the scripts
  sightline::golden::Register(arguments[1]);
  return RUN_ALL_TESTS();
}
