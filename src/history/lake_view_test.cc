#include "history/lake_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "connectors/checkpoint_files/checkpoint_place.h"
#include "connectors/lake/tables.h"
#include "engine/runtime.h"
#include "engine/sealed_list.h"
#include "history/pinned_runs.h"
#include "history/run_part.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

const SourcePartition kPartition{"test", 0};
constexpr Epoch kOwner{1};

// A segment with one detection per offset.
Segment Make(int64_t first, int64_t next) {
  Segment segment{.first = {first}, .next = {next}};
  for (int64_t offset = first; offset < next; ++offset)
    segment.counts.push_back({.key = {.pane_start = {10'000 * offset}, .item = "bus"}, .count = 1});
  Ledger ledger{.received = next - first};
  ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = next - first;
  segment.ledger.push_back({.ledger = ledger});
  return segment;
}

int64_t Counted(const LakeState& state) {
  int64_t sum = 0;
  for (const CountIncrement& row : *state.pending_counts) sum += row.count;
  for (const auto& part : state.pending_parts) {
    const auto rows = part->Counts();
    EXPECT_TRUE(rows.ok()) << rows.status().message();
    if (rows.ok())
      for (const CountIncrement& row : rows.value()) sum += row.count;
  }
  return sum;
}
int64_t Received(const LakeState& state) {
  int64_t sum = 0;
  for (const LedgerIncrement& row : *state.pending_ledger) sum += row.row.ledger.received;
  for (const auto& part : state.pending_parts) {
    const auto rows = part->Ledger();
    EXPECT_TRUE(rows.ok()) << rows.status().message();
    if (rows.ok())
      for (const LedgerIncrement& row : rows.value()) sum += row.row.ledger.received;
  }
  return sum;
}

class LakeViewTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    store_ = std::make_unique<CheckpointFiles>(OpenCheckpointFiles(dir_ / "checkpoints").value());
    ASSERT_TRUE(store_->PutIfAbsent(kPartition, kOwner, nullptr).ok());
    Restart();
  }
  void TearDown() override {
    view_.reset();
    fs::remove_all(dir_);
  }
  void Restart() {
    view_.reset();
    Result<std::unique_ptr<PinnedRuns>> runs =
        PinnedRuns::Open(dir_ / "checkpoints", dir_ / "pending");
    ASSERT_TRUE(runs.ok()) << runs.status().message();
    runs_ = std::move(runs).value();
    view_ = std::make_unique<LakeView>(
        dir_ / "lake", Millis{60'000}, runs_.get(),
        EngineReports{.partitions = [this] { return health_; },
                      .end_of = [this](const SourcePartition&) { return LogEnd{{log_end_}}; }});
  }

  // Adds the segments that end at `boundaries` to the task's list and to the view.
  void Add(const std::vector<int64_t>& boundaries) {
    for (const int64_t next : boundaries) {
      const Segment segment = Make(list_.empty() ? 0 : list_.next().v, next);
      list_.Add(segment);
      ASSERT_TRUE(view_->Apply(kPartition, {&segment, 1}));
    }
  }
  void SpillUntil(int64_t limit) {
    const auto oldest = list_.Oldest(1 << 20, {limit});
    const std::string bytes = EncodeRun(oldest);
    const SpilledRun run = DescribeRun({kOwner, ++runs_put_}, oldest, std::ssize(bytes));
    ASSERT_TRUE(store_->PutRun(kPartition, run.id, bytes).ok());
    list_.Spill(run);
  }
  lake::SnapshotPtr At(std::string_view table, int64_t offset) {
    auto snapshot = std::make_shared<lake::Snapshot>();
    snapshot->version = {++version_};
    snapshot->txns[lake::OffsetTxn(table, kPartition)] = offset;
    return snapshot;
  }
  void CommitCounts(int64_t offset) { view_->SetCounts(At(lake::kIncrementsTable, offset)); }
  void CommitLedger(int64_t offset) { view_->SetLedger(At(lake::kLedgerTable, offset)); }
  std::shared_ptr<const LakeState> State() {
    const auto state = view_->Current();
    EXPECT_TRUE(state.ok()) << state.status().message();
    return state.value();
  }
  void ExpectPending(int64_t counted, int64_t received) {
    const auto state = State();
    EXPECT_EQ(Counted(*state), counted);
    EXPECT_EQ(Received(*state), received);
  }
  int64_t Pins() {
    return std::distance(fs::directory_iterator(dir_ / "pending"), fs::directory_iterator());
  }

  fs::path dir_;
  std::unique_ptr<CheckpointFiles> store_;
  std::unique_ptr<PinnedRuns> runs_;
  std::unique_ptr<LakeView> view_;
  SealedList list_{{}};
  std::vector<PartitionHealth> health_{{.partition = kPartition}};  // what the engine says
  int64_t log_end_ = 0;
  int64_t runs_put_ = 0;
  int64_t version_ = 0;
};

TEST_F(LakeViewTest, WhatIsSpilledIsReadFromTheRuns) {
  Add({10, 20, 30, 40, 50, 60});
  ExpectPending(60, 60);
  const auto before = State();
  EXPECT_TRUE(before->pending_parts.empty());
  SpillUntil(20);
  SpillUntil(50);
  view_->Follow(kPartition, list_);
  const auto state = State();
  EXPECT_EQ(state->pending_parts.size(), 2u);
  EXPECT_EQ(state->pending_ledger->size(), 1u);
  EXPECT_EQ(state->pending_ledger->front().first, Offset{50});
  ExpectPending(60, 60);
  Add({70});
  ExpectPending(70, 70);
  EXPECT_EQ(Counted(*before), 60);
}

// The two tables are committed one after the other, and their offsets may lie inside a run.
TEST_F(LakeViewTest, ARunIsCutWhereEachTableStands) {
  Add({10, 20, 30, 40});
  SpillUntil(30);
  view_->Follow(kPartition, list_);
  CommitCounts(10);
  ExpectPending(30, 40);
  CommitLedger(20);
  ExpectPending(30, 20);
  CommitCounts(30);
  ExpectPending(10, 20);
  CommitLedger(30);
  ExpectPending(10, 10);
  EXPECT_TRUE(State()->pending_parts.empty());
  EXPECT_EQ(Pins(), 0);
}

TEST_F(LakeViewTest, AQueryReadsOnWhenTheEngineHasRemovedTheRun) {
  Add({10, 20, 30});
  SpillUntil(20);
  view_->Follow(kPartition, list_);
  auto state = State();
  CommitCounts(20);
  CommitLedger(20);
  ASSERT_TRUE(store_->RemoveRuns(kPartition, kOwner, {}).ok());
  EXPECT_EQ(store_->ReadRun(kPartition, {kOwner, 1}).status().code(), StatusCode::kStop);
  EXPECT_EQ(Counted(*state), 30);
  EXPECT_EQ(Received(*state), 30);
  EXPECT_EQ(Pins(), 1);
  state.reset();
  EXPECT_EQ(Pins(), 0);
  ExpectPending(10, 10);
}

TEST_F(LakeViewTest, SegmentsAreMergedWhereTheListMergesThem) {
  Add({10, 20, 30, 40});
  const Offset kept[] = {{20}};
  ASSERT_EQ(list_.Merge(kept), 2);
  view_->Follow(kPartition, list_);
  ExpectPending(40, 40);
  CommitCounts(20);
  CommitLedger(20);
  ExpectPending(20, 20);
}

// The list may be ahead of the view: it may have merged or spilled what the view does not have yet.
TEST_F(LakeViewTest, ARunOfWhichTheViewLacksAPartIsLeft) {
  Add({10});
  list_.Add(Make(10, 20));
  SpillUntil(20);
  view_->Follow(kPartition, list_);
  EXPECT_TRUE(State()->pending_parts.empty());
  ExpectPending(10, 10);
  const Segment rest = Make(10, 20);
  ASSERT_TRUE(view_->Apply(kPartition, {&rest, 1}));
  view_->Follow(kPartition, list_);
  EXPECT_EQ(State()->pending_parts.size(), 1u);
  ExpectPending(20, 20);
}

TEST_F(LakeViewTest, ANewTaskBringsItsRunsAndQueriesWaitForTheRest) {
  Add({10, 20, 30});
  SpillUntil(20);
  view_->Follow(kPartition, list_);
  SealedList loaded{{}};  // of a checkpoint at 20
  loaded.AddRun(list_.runs().front());
  view_->Begin(kPartition, loaded);
  EXPECT_EQ(view_->Committed(kPartition), Offset{20});
  EXPECT_EQ(view_->Current().status().code(), StatusCode::kRetry);
  const Segment replayed = Make(20, 35);  // cut differently
  ASSERT_TRUE(view_->Apply(kPartition, {&replayed, 1}));
  ExpectPending(35, 35);
}

TEST_F(LakeViewTest, AfterARestartTheRunsAreThereAgain) {
  Add({10, 20, 30});
  SpillUntil(20);
  view_->Follow(kPartition, list_);
  Restart();
  EXPECT_EQ(Pins(), 0);
  CommitCounts(10);
  CommitLedger(10);
  view_->Begin(kPartition, list_);
  EXPECT_EQ(view_->Committed(kPartition), Offset{20});
  const Segment rest = Make(20, 30);
  ASSERT_TRUE(view_->Apply(kPartition, {&rest, 1}));
  ExpectPending(20, 20);
}

// A query worker reads the file of the run itself.
TEST_F(LakeViewTest, AnotherProcessReadsTheSameOfARun) {
  Add({10, 20, 30});
  SpillUntil(20);
  view_->Follow(kPartition, list_);
  CommitCounts(10);  // the two tables lack different parts of the run
  const auto state = State();
  ASSERT_EQ(state->pending_parts.size(), 1u);
  const PendingPart& here = *state->pending_parts.front();
  const auto there = OpenRunPart(here.Reference());
  ASSERT_TRUE(there.ok()) << there.status().message();
  const auto counts = here.Counts().value(), same_counts = there.value()->Counts().value();
  ASSERT_EQ(same_counts.size(), counts.size());
  EXPECT_FALSE(counts.empty());
  for (size_t i = 0; i < counts.size(); ++i) {
    EXPECT_EQ(same_counts[i].item, counts[i].item);
    EXPECT_EQ(same_counts[i].count, counts[i].count);
    EXPECT_EQ(same_counts[i].window.end, counts[i].window.end);
    EXPECT_EQ(same_counts[i].source, counts[i].source);
    EXPECT_EQ(same_counts[i].first, counts[i].first);
  }
  const auto ledger = here.Ledger().value(), same_ledger = there.value()->Ledger().value();
  ASSERT_EQ(same_ledger.size(), ledger.size());
  EXPECT_FALSE(ledger.empty());
  for (size_t i = 0; i < ledger.size(); ++i) EXPECT_EQ(same_ledger[i].row, ledger[i].row);
  EXPECT_EQ(there.value()->Reference(), here.Reference());
  for (const std::string& reference :
       {std::string(), here.Reference().substr(1), here.Reference() + "x"})
    EXPECT_FALSE(OpenRunPart(reference).ok());
}

TEST_F(LakeViewTest, ADamagedRunFailsTheQueryAndNamesTheFile) {
  Add({10, 20});
  SpillUntil(20);
  view_->Follow(kPartition, list_);
  fs::resize_file(dir_ / "checkpoints" / CheckpointFiles::RunPath(kPartition, {kOwner, 1}), 20);
  const Status failed = State()->pending_parts.front()->Counts().status();
  EXPECT_EQ(failed.code(), StatusCode::kStop);
  EXPECT_THAT(failed.message(), testing::HasSubstr((dir_ / "pending").native()));
}

// Otherwise one partition that waits for a person would take the answers about all the others.
TEST_F(LakeViewTest, QueriesWaitForAPartitionThatStartsAndNotForOneThatHasStopped) {
  const SourcePartition other{"test", 1};
  health_.push_back({.partition = other, .health = TaskHealth::kRunning});
  CommitCounts(20);
  CommitLedger(20);
  view_->Expect(kPartition, {50});
  const Segment segment = Make(0, 5);
  ASSERT_TRUE(view_->Apply(other, {&segment, 1}));
  EXPECT_EQ(view_->Current().status().code(), StatusCode::kRetry);
  health_.front().health = TaskHealth::kStopped;
  health_.front().reason = "its checkpoint is damaged";
  EXPECT_THAT(State()->incomplete, testing::ElementsAre(IncompletePartition{
                                       kPartition, {20}, {50}, "its checkpoint is damaged"}));
  ExpectPending(5, 5);
  EXPECT_EQ(State(), State()) << "a state is kept until something changes";
  log_end_ = 70;  // what came since is missing, too
  EXPECT_EQ(State()->incomplete.front().next, Offset{70});
}

TEST_F(LakeViewTest, APartitionThatStopsLaterLacksWhatCameSince) {
  Add({10, 20});
  EXPECT_TRUE(State()->incomplete.empty());
  health_.front().health = TaskHealth::kStopped;
  log_end_ = 20;
  EXPECT_TRUE(State()->incomplete.empty()) << "everything is counted";
  log_end_ = 25;
  ASSERT_EQ(State()->incomplete.size(), 1u);
  EXPECT_EQ(State()->incomplete.front().first, Offset{20});
  ExpectPending(20, 20);
}

// Its topic was deleted.
TEST_F(LakeViewTest, QueriesDoNotWaitForAPartitionThatIsGone) {
  view_->Expect(kPartition, {50});
  EXPECT_EQ(view_->Current().status().code(), StatusCode::kRetry);
  health_.clear();
  EXPECT_THAT(State()->incomplete, testing::ElementsAre(IncompletePartition{
                                       kPartition, {0}, {50}, "it is no longer read"}));
}

// The tables are committed one after the other, and a process may die in between.
TEST_F(LakeViewTest, WhatOnlyOneTableHasIsWaitedFor) {
  CommitCounts(30);
  CommitLedger(20);
  view_->Expect(kPartition, {30});
  EXPECT_EQ(view_->Current().status().code(), StatusCode::kRetry);
  const Segment rest = Make(20, 30);
  ASSERT_TRUE(view_->Apply(kPartition, {&rest, 1}));
  ExpectPending(0, 10);
}

TEST_F(LakeViewTest, ADamagedRunIsKnownUntilItCanBeReadAgain) {
  Add({10, 20});
  SpillUntil(20);
  view_->Follow(kPartition, list_);
  const fs::path run = dir_ / "checkpoints" / CheckpointFiles::RunPath(kPartition, {kOwner, 1});
  const fs::path whole = dir_ / "whole";
  fs::copy_file(run, whole);
  EXPECT_EQ(runs_->trouble(), "");
  fs::resize_file(run, 20);
  auto state = State();
  EXPECT_FALSE(state->pending_parts.front()->Counts().ok());
  EXPECT_THAT(runs_->trouble(),
              testing::AllOf(testing::HasSubstr((dir_ / "pending").native()),
                             testing::HasSubstr("partition 0"), testing::HasSubstr("[0, 20)")));
  fs::copy_file(whole, run, fs::copy_options::overwrite_existing);
  EXPECT_EQ(runs_->trouble(), "");
  // Nor is it known when no query needs it any more.
  fs::resize_file(run, 20);
  EXPECT_FALSE(state->pending_parts.front()->Ledger().ok());
  EXPECT_NE(runs_->trouble(), "");
  CommitCounts(20);
  CommitLedger(20);
  state.reset();
  EXPECT_EQ(runs_->trouble(), "");
}

}  // namespace
}  // namespace sightline
