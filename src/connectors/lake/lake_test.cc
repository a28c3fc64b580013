// Tests of the writer, its sinks and the maintenance of tables.
#include <arrow/table.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/describe.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/lake/locations_table.h"
#include "connectors/lake/log.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/repair.h"
#include "connectors/lake/rows.h"
#include "connectors/lake/table_rows.h"
#include "connectors/lake/testing.h"
#include "connectors/lake/testing_lake.h"
#include "connectors/lake/verify.h"
#include "model/location.h"

namespace sightline::lake {
namespace {

using lake_testing::Settle;
using testing::HasSubstr;

class LakeTest : public testing::Test, protected TestLake {
 protected:
  void ExpectClean() { EXPECT_EQ(DamageOf(storage_), ""); }
};

TEST_F(LakeTest, PartitionsShareACommit) {
  std::vector<SnapshotPtr> seen;
  const auto writer = Open({.linger = {100}, .on_commit = [&](const SnapshotPtr& snapshot) {
                              seen.push_back(snapshot);
                            }});
  std::vector<std::unique_ptr<Sink>> sinks;
  for (int32_t i = 0; i < 8; ++i) sinks.push_back(Owner(*writer, Partition(i)));
  const Version before = writer->current()->version;
  const std::vector<Segment> segments = {Make(0, 100)};
  for (int32_t i = 0; i < 8; ++i)
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->Commit(Partition(i), segments).status().code(),
              StatusCode::kRetry);
  for (int32_t i = 0; i < 8; ++i)
    EXPECT_EQ(Commit(*sinks[static_cast<size_t>(i)], segments, Partition(i)).value(), Offset{100});
  EXPECT_EQ(writer->current()->version.v, before.v + 1);
  EXPECT_EQ(writer->current()->files.size(), 2u);  // one per location
  EXPECT_EQ(seen.back(), writer->current());
  EXPECT_EQ(writer->stats().commits, 1);
  EXPECT_EQ(Sum(), 800);
}

TEST_F(LakeTest, AFullDiskLeavesNothingHalf) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  ASSERT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
  const int64_t files = storage_.DataFiles(kIncrementsTable);
  const std::string full = "cannot write 'x': No space left on device; free some space";
  // Fails each put of the commit in turn: two data files and the log entry.
  for (int fails = 0; fails < 3; ++fails) {
    int puts = 0;
    storage_.before_put = [&](std::string_view) {
      return puts++ == fails ? Status::Retry(full) : Status::Ok();
    };
    const Result<Offset> failed = Commit(*sink, {Make(10, 20)});
    EXPECT_EQ(failed.status().code(), StatusCode::kRetry);
    EXPECT_THAT(failed.status().message(), HasSubstr("No space left"));
    EXPECT_EQ(storage_.DataFiles(kIncrementsTable), files) << fails;
    storage_.before_put = nullptr;
    EXPECT_EQ(Sum(), 10);
  }
  EXPECT_EQ(writer->stats().failures, 3);
  EXPECT_EQ(Commit(*sink, {Make(10, 20)}).value(), Offset{20});
  EXPECT_EQ(Sum(), 20);
}

TEST_F(LakeTest, AnUnknownOutcomeKeepsTheFiles) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  storage_.before_put = [](std::string_view path) {
    return path.ends_with(".json") ? Status::Rebuild("no answer") : Status::Ok();
  };
  EXPECT_EQ(Commit(*sink, {Make(0, 10)}).status().code(), StatusCode::kRebuild);
  storage_.before_put = nullptr;
  EXPECT_EQ(storage_.DataFiles(kIncrementsTable), 2);
  const auto next = Owner(*writer, Partition(0), 2);
  EXPECT_EQ(next->Committed(Partition(0)).value(), kNoneCommitted);
  ASSERT_TRUE(Commit(*next, {Make(0, 10)}).ok());
  EXPECT_EQ(Sum(), 10);
}

// The answer to the put is missing, and the file is there: only when its name is durable, too, is
// the commit known.
TEST_F(LakeTest, ACommitThatMayNotLastIsUnknown) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  storage_.after_put = [](std::string_view path) {
    return path.ends_with(".json") ? Status::Rebuild("no answer") : Status::Ok();
  };
  storage_.before_confirm = [](std::string_view) { return Status::Retry("fsync failed"); };
  const Status unknown = Commit(*sink, {Make(0, 10)}).status();
  EXPECT_EQ(unknown.code(), StatusCode::kRebuild);
  EXPECT_THAT(unknown.message(), HasSubstr("fsync failed"));
  storage_.before_confirm = nullptr;
  const auto next = Owner(*writer, Partition(0), 2);
  const Offset committed = next->Committed(Partition(0)).value();
  if (committed == kNoneCommitted) {
    ASSERT_TRUE(Commit(*next, {Make(0, 10)}).ok());
  }
  EXPECT_TRUE(Commit(*next, {Make(10, 20)}).ok());
  EXPECT_EQ(Sum(), 20);
}

TEST_F(LakeTest, ComparesAndSets) {
  const auto writer = Open();
  ASSERT_TRUE(Commit(*Owner(*writer, Partition(0)), {Make(0, 10)}).ok());
  for (const auto& [first, next] : {std::pair{0, 5}, {5, 15}, {11, 12}})
    EXPECT_EQ(Commit(*Owner(*writer, Partition(0)), {Make(first, next)}).status().code(),
              StatusCode::kRebuild);
  EXPECT_EQ(Commit(*Owner(*writer, Partition(0)), {Make(0, 4), Make(4, 10)}).value(), Offset{10});
  EXPECT_EQ(Sum(), 10);
}

// Like two processes: each has a writer of its own.
TEST_F(LakeTest, AnotherProcessFencesToo) {
  const auto ours = Open();
  const auto theirs = Open();
  const auto zombie = Owner(*ours, Partition(0), 5);
  ASSERT_TRUE(Commit(*zombie, {Make(0, 10)}).ok());
  const auto owner = Owner(*theirs, Partition(0), 6);
  EXPECT_EQ(owner->Committed(Partition(0)).value(), Offset{10});
  EXPECT_EQ(Commit(*zombie, {Make(10, 20)}).status().code(), StatusCode::kRebuild);
  EXPECT_EQ(storage_.DataFiles(kIncrementsTable), 2);  // what the refused writer wrote is gone
  ASSERT_TRUE(Commit(*owner, {Make(10, 15)}).ok());
  EXPECT_EQ(Sum(), 15);
  EXPECT_EQ(ours->current()->Txn(OwnerTxn(kIncrementsTable, Partition(0))), 6);
  // A checkpoint store that was removed by hand starts its epochs again.
  const auto again = Owner(*ours, Partition(0), 1);
  EXPECT_EQ(Commit(*owner, {Make(15, 20)}).status().code(), StatusCode::kRebuild);
  ASSERT_TRUE(Commit(*again, {Make(15, 20)}).ok());
  EXPECT_EQ(Sum(), 20);
}

TEST_F(LakeTest, OneRefusedPartitionHoldsUpNoOther) {
  const auto ours = Open({.linger = {50}});
  const auto theirs = Open();
  const auto zombie = Owner(*ours, Partition(0), 1);
  const auto good = Owner(*ours, Partition(1), 1);
  Owner(*theirs, Partition(0), 2);
  const std::vector<Segment> segments = {Make(0, 10)};
  EXPECT_EQ(zombie->Commit(Partition(0), segments).status().code(), StatusCode::kRetry);
  EXPECT_EQ(good->Commit(Partition(1), segments).status().code(), StatusCode::kRetry);
  EXPECT_EQ(Commit(*good, segments, Partition(1)).value(), Offset{10});
  EXPECT_EQ(Commit(*zombie, segments).status().code(), StatusCode::kRebuild);
  EXPECT_EQ(Sum(), 10);
  EXPECT_EQ(storage_.DataFiles(kIncrementsTable), 2);
}

TEST_F(LakeTest, AnotherEngineIsRefused) {
  Owner(*Open(), Partition(0));
  const auto other = Open({.engine = "spark"});
  const auto sink = other->OpenSink(nullptr);
  const Status fenced = Settle([&] { return sink->Fence(Partition(0), {9}); });
  EXPECT_EQ(fenced.code(), StatusCode::kStop);
  EXPECT_THAT(fenced.message(), HasSubstr("'embedded'"));
}

// What a person must correct stops no task: it waits, and the writer says why.
TEST_F(LakeTest, ALakeThatCannotBeWrittenIsARetry) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  const auto other = writer->OpenSink(nullptr);
  const std::string read_only = "cannot make 'x': Read-only file system";
  storage_.before_put = [&](std::string_view) { return Status::Stop(read_only); };
  const Status failed = Commit(*sink, {Make(0, 10)}).status();
  EXPECT_EQ(failed.code(), StatusCode::kRetry);
  EXPECT_EQ(failed.message(), read_only);
  EXPECT_EQ(writer->trouble(), read_only);
  EXPECT_EQ(Settle([&] { return other->Fence(Partition(1), {1}); }).code(), StatusCode::kRetry);
  storage_.before_put = [](std::string_view) { return Status::Retry("No space left on device"); };
  EXPECT_EQ(Commit(*sink, {Make(0, 10)}).status().code(), StatusCode::kRetry);
  EXPECT_EQ(writer->trouble(), read_only);
  storage_.before_put = nullptr;
  EXPECT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
  EXPECT_EQ(writer->trouble(), "");
  EXPECT_TRUE(Settle([&] { return other->Fence(Partition(1), {1}); }).ok());
  EXPECT_EQ(Sum(), 10);
}

// The lake's folder is another, empty one for a while.
TEST_F(LakeTest, NothingIsWrittenWhileTheLakeIsAway) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  ASSERT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
  const std::filesystem::path aside = storage_.root().native() + "-aside";
  std::filesystem::rename(storage_.root(), aside);
  std::filesystem::create_directory(storage_.root());
  for (int times = 0; times < 3; ++times) {
    EXPECT_EQ(Commit(*sink, {Make(10, 20)}).status().code(), StatusCode::kRetry);
    EXPECT_THAT(writer->trouble(), HasSubstr("is not the folder that was opened"));
    EXPECT_TRUE(std::filesystem::is_empty(storage_.root()));
  }
  std::filesystem::remove(storage_.root());
  std::filesystem::rename(aside, storage_.root());
  EXPECT_EQ(Commit(*sink, {Make(10, 20)}).value(), Offset{20});
  EXPECT_EQ(writer->trouble(), "");
  EXPECT_EQ(Sum(), 20);
}

TEST_F(LakeTest, AKnownTableIsNotMadeAgain) {
  const std::filesystem::path path = storage_.root().native() + "-known.json";
  const auto open = [&] {
    auto known = KnownTables::Open({.path = path, .lake = "/the/lake", .renew = "do this"});
    EXPECT_TRUE(known.ok()) << known.status().message();
    const auto opened = LakeWriter::Open(storage_, clock_, {.known = known.value().get()});
    return opened.status();
  };
  EXPECT_TRUE(open().ok());
  EXPECT_TRUE(open().ok());
  const std::string id = ReadSnapshot(storage_, kIncrementsTable).value()->metadata->id;
  storage_.Clear();
  const Status missing = open();
  EXPECT_EQ(missing.code(), StatusCode::kStop);
  EXPECT_THAT(missing.message(),
              testing::AllOf(HasSubstr(id), HasSubstr("'/the/lake' has no such table"),
                             HasSubstr("to begin a new lake, do this")));
  EXPECT_TRUE(storage_.List("item_count_increments").value().empty());
  ASSERT_TRUE(LakeWriter::Open(storage_, clock_, {}).ok());  // another pipeline
  EXPECT_THAT(open().message(), HasSubstr("has another one"));
  std::filesystem::resize_file(path, 10);
  EXPECT_THAT(KnownTables::Open({.path = path}).status().message(), HasSubstr("is damaged"));
  EXPECT_TRUE(KnownTables::Forget(path).ok());
  EXPECT_TRUE(open().ok());
  std::filesystem::remove(path);
}

TEST_F(LakeTest, AWriterThatClosesAbandonsItsWrite) {
  auto writer = Open({.max_partitions = 10'000});
  const auto sink = Owner(*writer, Partition(0));
  const Version before = writer->current()->version;
  std::atomic<int64_t> puts = 0;
  std::promise<void> far;
  storage_.before_put = [&](std::string_view) {
    if (++puts == 300) far.set_value();
    if (puts >= 300) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Status::Ok();
  };
  std::vector<Segment> segments = {Make(0, 5000, 0, /*locations=*/5000)};
  EXPECT_EQ(sink->Commit(Partition(0), segments).status().code(), StatusCode::kRetry);
  far.get_future().wait();
  writer.reset();
  EXPECT_LE(puts, 512);
  storage_.before_put = nullptr;
  EXPECT_EQ(ReadSnapshot(storage_, kIncrementsTable).value()->version, before);
  EXPECT_EQ(storage_.DataFiles(kIncrementsTable), 0);
}

// Before the table has too many locations, its files become files of buckets. Rows, offsets and
// earlier versions stay.
TEST_F(LakeTest, TheLayoutFollowsTheData) {
  const auto writer = Open({.max_partitions = 20});
  const auto ledger = Open({.table = std::string(kLedgerTable)});
  const auto sink = Owner(*writer, Partition(0));
  const auto balance = Owner(*ledger, Partition(0));
  const auto add = [&](const Segment& segment) {
    const Result<Offset> committed = Commit(*sink, {segment});
    EXPECT_TRUE(committed.ok()) << committed.status().message();
    EXPECT_TRUE(Commit(*balance, {segment}).ok());
  };
  for (int64_t day = 3; day > 0; --day) add(Make(300 - day * 100, 400 - day * 100, day, 20));
  const SnapshotPtr before = writer->current();
  EXPECT_EQ(before->files.size(), 60u);
  EXPECT_EQ(before->metadata->partition_columns[0], "geographical_location_oid");
  add(Make(300, 400, 0, 21));
  const SnapshotPtr after = writer->current();
  EXPECT_EQ(after->version.v, before->version.v + 2);  // the layout, then the rows
  EXPECT_THAT(after->metadata->partition_columns, testing::ElementsAre("date", "bucket"));
  EXPECT_EQ(after->metadata->id, before->metadata->id);
  EXPECT_LE(after->files.size(), 64u);
  after->files.ForEach([](const FilePtr& file) { EXPECT_THAT(file->path, HasSubstr("/bucket=")); });
  EXPECT_EQ(Sum(), 400);
  ExpectClean();
  const std::string commit =
      *storage_.ReadWhole(CommitPath(kIncrementsTable, {before->version.v + 1})).value();
  EXPECT_THAT(commit, testing::Not(HasSubstr(R"("dataChange":true)")));
  // What was committed for the earlier layout is still an earlier version.
  int64_t sum = 0;
  ASSERT_TRUE(ForEachWriteBatch(storage_, kIncrementsTable, *before, [&](WriteBatch&& batch) {
                for (const CountRow& row : batch.windows) sum += row.count;
              }).ok());
  EXPECT_EQ(sum, 300);
  // Maintenance, another start, and a checkpoint.
  ASSERT_TRUE(Compact(storage_, clock_, kIncrementsTable, {.all_days = true}).ok());
  add(Make(400, 500, 0, 30));
  ASSERT_TRUE(RemoveOldDays(storage_, clock_, kIncrementsTable, {.days = 2}).ok());
  EXPECT_EQ(Sum(), 400);
  ExpectClean();
  ASSERT_TRUE(WriteCheckpoint(storage_, kIncrementsTable,
                              *ReadSnapshot(storage_, kIncrementsTable).value(), clock_.NowMs())
                  .ok());
  storage_.now_ms = SystemClock().NowMs() + 8 * kDayMs;
  EXPECT_GT(Vacuum(storage_, kIncrementsTable, {}).value().files, 60);
  ExpectClean();
  const auto again = Open({.max_partitions = 20});
  ASSERT_TRUE(Commit(*Owner(*again, Partition(0), 2), {Make(500, 600, 0, 90)}).ok());
  EXPECT_EQ(Sum(), 500);
}

// Two processes write the table: one changes the layout, the other one notices.
TEST_F(LakeTest, TheLayoutIsTheSameForAllWriters) {
  const auto ours = Open({.max_partitions = 20});
  const auto theirs = Open({.max_partitions = 20});
  const auto one = Owner(*ours, Partition(0));
  const auto two = Owner(*theirs, Partition(1));
  ASSERT_TRUE(Commit(*one, {Make(0, 100, 0, 20)}).ok());
  ASSERT_TRUE(Commit(*two, {Make(0, 100, 0, 20)}, Partition(1)).ok());
  // The other one commits in the old layout while the conversion is under way.
  bool during = false;
  storage_.before_put = [&](std::string_view path) {
    if (path.find("/bucket=") == std::string_view::npos || std::exchange(during, true))
      return Status::Ok();
    EXPECT_TRUE(Commit(*two, {Make(100, 200, 0, 20)}, Partition(1)).ok());
    return Status::Ok();
  };
  ASSERT_TRUE(Commit(*one, {Make(100, 200, 0, 50)}).ok());
  EXPECT_TRUE(during);
  storage_.before_put = nullptr;
  EXPECT_EQ(Sum(), 400);
  ASSERT_TRUE(Commit(*two, {Make(200, 300, 0, 50)}, Partition(1)).ok());
  ASSERT_TRUE(Commit(*one, {Make(200, 300, 0, 50)}).ok());
  Owner(*theirs, Partition(2));
  EXPECT_EQ(Sum(), 600);
  ReadSnapshot(storage_, kIncrementsTable).value()->files.ForEach([](const FilePtr& file) {
    EXPECT_THAT(file->path, HasSubstr("/bucket="));
  });
  int changed = 0;
  const std::vector<HistoryEntry> history = History(storage_, kIncrementsTable, 100).value();
  for (const HistoryEntry& entry : history) changed += entry.operation == "CHANGE LAYOUT";
  EXPECT_EQ(changed, 1);
  const VerifyReport report = Verify(storage_, nullptr).value();
  for (const Finding& note : report.notes) ADD_FAILURE() << note.object << " " << note.what;
}

TEST_F(LakeTest, AGapInTheLogIsRepaired) {
  Fill({Make(0, 10), Make(10, 20), Make(20, 30), Make(30, 40), Make(40, 50)});
  const auto missing = [&](int64_t version) { return CommitPath(kIncrementsTable, {version}); };
  const Version newest = ReadSnapshot(storage_, kIncrementsTable).value()->version;
  ASSERT_EQ(newest.v, 6);  // made, fenced, and five commits
  EXPECT_EQ(Repair(storage_, clock_, kIncrementsTable, false).value().missing_first, kNoVersion);
  ASSERT_TRUE(storage_.Delete(missing(4)).ok());
  EXPECT_THAT(LakeWriter::Open(storage_, clock_, {}).status().message(), HasSubstr("lake repair"));
  const size_t files = storage_.List(kIncrementsTable).value().size();
  for (const bool dry_run : {true, false}) {
    const RepairResult repair = Repair(storage_, clock_, kIncrementsTable, dry_run).value();
    EXPECT_EQ(repair.missing_first, Version{4});
    EXPECT_EQ(repair.missing_last, Version{4});
    EXPECT_EQ(repair.kept, Version{3});
    EXPECT_THAT(repair.set_aside, testing::ElementsAre(missing(6), missing(5)));
    EXPECT_EQ(repair.files, 4);  // of two commits, in two locations
    const std::pair<int64_t, int64_t> fallen{50, 20};
    EXPECT_EQ(repair.txns.at(OffsetTxn(kIncrementsTable, Partition(0))), fallen);
    EXPECT_EQ(storage_.List(kIncrementsTable).value().size(), files);
    EXPECT_EQ(storage_.Stat(missing(6)).value().has_value(), dry_run);
  }
  EXPECT_EQ(Repair(storage_, clock_, kIncrementsTable, false).value().missing_first, kNoVersion);
  EXPECT_EQ(Sum(), 20);
  // What was set aside stays, and its files with it.
  storage_.now_ms = SystemClock().NowMs() + 8 * kDayMs;
  EXPECT_EQ(Vacuum(storage_, kIncrementsTable, {}).value().files, 2);  // of the lost commit
  EXPECT_EQ(storage_.List(kIncrementsTable).value().size(), files - 2);
  const VerifyReport report = Verify(storage_, nullptr).value();
  EXPECT_TRUE(report.clean());
  ASSERT_EQ(report.notes.size(), 4u);
  EXPECT_THAT(report.notes[0].what, HasSubstr("set aside"));
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0), 2);
  EXPECT_EQ(sink->Committed(Partition(0)).value(), Offset{20});
  ASSERT_TRUE(Commit(*sink, {Make(20, 50)}).ok());
  EXPECT_EQ(Sum(), 50);
  ExpectClean();
}

// Reading begins at the checkpoint: only the versions before it are lost.
TEST_F(LakeTest, AGapBeforeACheckpointLosesNothing) {
  Fill({Make(0, 10), Make(10, 20), Make(20, 30), Make(30, 40)});
  ASSERT_TRUE(WriteCheckpoint(storage_, kIncrementsTable,
                              *ReadSnapshotAt(storage_, kIncrementsTable, {4}).value(),
                              clock_.NowMs())
                  .ok());
  for (const int64_t version : {2, 3})
    ASSERT_TRUE(storage_.Delete(CommitPath(kIncrementsTable, {version})).ok());
  EXPECT_EQ(Sum(), 40);
  EXPECT_FALSE(Verify(storage_, nullptr).value().clean());
  const RepairResult repair = Repair(storage_, clock_, kIncrementsTable, false).value();
  EXPECT_EQ(repair.missing_first, Version{2});
  EXPECT_EQ(repair.missing_last, Version{3});
  EXPECT_EQ(repair.kept, repair.newest);
  EXPECT_THAT(repair.set_aside, testing::ElementsAre(CommitPath(kIncrementsTable, {0}),
                                                     CommitPath(kIncrementsTable, {1})));
  EXPECT_EQ(Sum(), 40);
  ExpectClean();
  // A second gap, behind the checkpoint.
  ASSERT_TRUE(storage_.Delete(CommitPath(kIncrementsTable, {5})).ok());
  ASSERT_TRUE(storage_.Put(CommitPath(kIncrementsTable, {6}), "damaged", PutMode::kReplace).ok());
  EXPECT_EQ(Repair(storage_, clock_, kIncrementsTable, false).value().kept, Version{4});
  EXPECT_EQ(Sum(), 30);
  ASSERT_TRUE(storage_.Delete(CheckpointPath(kIncrementsTable, {4})).ok());
  EXPECT_THAT(Repair(storage_, clock_, kIncrementsTable, false).status().message(),
              HasSubstr("no version before the gap"));
}

TEST_F(LakeTest, CompactsTheDaysThatAreOver) {
  for (const Layout layout : {Layout::kByLocation, Layout::kByBucket}) {
    storage_.Clear();
    Fill({Make(0, 100, 1), Make(100, 200, 1), Make(200, 300, 1), Make(300, 400), Make(400, 500)},
         layout);
    ExpectClean();
    const int64_t files = storage_.DataFiles(kIncrementsTable);
    const auto dry = Compact(storage_, clock_, kIncrementsTable, {.dry_run = true}).value();
    EXPECT_EQ(storage_.DataFiles(kIncrementsTable), files);
    const auto done = Compact(storage_, clock_, kIncrementsTable, {}).value();
    EXPECT_EQ(done.partitions, 2);
    EXPECT_EQ(done.files_before, 6);
    EXPECT_EQ(done.files_after, 2);
    EXPECT_EQ(dry.files_before, done.files_before);
    EXPECT_EQ(dry.files_after, done.files_after);
    const Version packed = ReadSnapshot(storage_, kIncrementsTable).value()->version;
    const std::string commit = *storage_.ReadWhole(CommitPath(kIncrementsTable, packed)).value();
    EXPECT_THAT(commit, HasSubstr(R"("dataChange":false)"));
    EXPECT_THAT(commit, testing::Not(HasSubstr(R"("dataChange":true)")));
    ExpectClean();
    EXPECT_EQ(Compact(storage_, clock_, kIncrementsTable, {}).value().partitions, 0);
    EXPECT_EQ(Compact(storage_, clock_, kIncrementsTable, {.all_days = true}).value().files_after,
              2);
    EXPECT_EQ(Compact(storage_, clock_, kLedgerTable, {.all_days = true}).value().files_after, 1);
    ExpectClean();
    EXPECT_EQ(Sum(), 500);
  }
}

// Of the open day, only what is many and alike becomes one: the pack is left alone afterwards.
TEST_F(LakeTest, CompactsManyFilesOfTheOpenDay) {
  for (const Layout layout : {Layout::kByLocation, Layout::kByBucket}) {
    storage_.Clear();
    const auto writer = Open({.layout = layout});
    const auto ledger = Open({.table = std::string(kLedgerTable)});
    const auto sink = Owner(*writer, Partition(0));
    const auto balance = Owner(*ledger, Partition(0));
    int64_t commits = 0;
    // Each has 40 rows of one location, as does each file.
    const auto add_until = [&](int64_t until) {
      for (; commits < until; ++commits) {
        const Segment segment = Make(commits * 100, commits * 100 + 100, 0, 1);
        ASSERT_TRUE(Commit(*sink, {segment}).ok());
        ASSERT_TRUE(Commit(*balance, {segment}).ok());
      }
    };
    const auto compact = [&] { return Compact(storage_, clock_, kIncrementsTable, {}).value(); };
    const auto files = [&] {
      return ReadSnapshot(storage_, kIncrementsTable).value()->files.size();
    };
    add_until(31);
    EXPECT_EQ(compact().partitions, 0);
    EXPECT_EQ(files(), 31u);
    add_until(32);
    EXPECT_EQ(Compact(storage_, clock_, kIncrementsTable, {.dry_run = true}).value().files_after,
              1);
    EXPECT_EQ(compact().files_after, 1);
    add_until(63);
    EXPECT_EQ(compact().partitions, 0);
    EXPECT_EQ(files(), 32u);
    add_until(64);
    EXPECT_EQ(compact().files_after, 2);
    EXPECT_EQ(Compact(storage_, clock_, kLedgerTable, {}).value().files_after, 1);
    EXPECT_EQ(Sum(), 6'400);
    ExpectClean();
    // The day is over: everything becomes one.
    clock_.Set(clock_.NowMs() + kDayMs);
    EXPECT_EQ(compact().files_after, 1);
    EXPECT_EQ(Sum(), 6'400);
    ExpectClean();
    clock_.Set(clock_.NowMs() - kDayMs);
  }
}

// Instead of a lease. Times are those of the storage, whatever this machine's clock says.
TEST_F(LakeTest, WhoFindsARecentCompactionDoesNothing) {
  Fill({Make(0, 100, 1), Make(100, 200, 1)});
  const Millis hour{3'600'000};
  ManualClock clock(SystemClock().NowMs());
  const auto compact = [&](Millis recent) {
    return Compact(storage_, clock, kIncrementsTable, {.recent = recent}).value().partitions;
  };
  EXPECT_EQ(compact(hour), 2);
  const auto writer = Open();
  ASSERT_TRUE(Commit(*Owner(*writer, Partition(0), 2), {Make(200, 300, 1)}).ok());
  EXPECT_EQ(compact(hour), 0);
  clock.Set(0);
  EXPECT_EQ(compact(hour), 0);
  clock.Set(SystemClock().NowMs() + hour.v + 1);
  EXPECT_EQ(compact(hour), 2);
  EXPECT_EQ(Sum(), 300);
  ASSERT_TRUE(Commit(*Owner(*writer, Partition(0), 3), {Make(300, 400, 1)}).ok());
  EXPECT_EQ(compact({}), 2);
}

// Files say their bucket for ever, and readers skip files by it.
TEST(Buckets, AreFixed) {
  EXPECT_EQ(BucketOf({0}), 0);
  EXPECT_EQ(BucketOf({1}), 5);
  EXPECT_EQ(BucketOf({7}), 4);
  EXPECT_EQ(BucketOf({7001}), 6);
  EXPECT_EQ(BucketOf({-1}), 11);
  EXPECT_EQ(BucketOf({INT64_MIN}), 10);
  EXPECT_EQ(BucketOf({INT64_MAX}), 13);
}

TEST_F(LakeTest, RetentionRemovesWholeDaysAndStillAddsUp) {
  Fill({Make(0, 100, 40), Make(100, 200, 31), Make(200, 300, 30), Make(300, 400)});
  EXPECT_EQ(RemoveOldDays(storage_, clock_, kIncrementsTable, {.days = 0}).status().code(),
            StatusCode::kStop);
  const auto dry =
      RemoveOldDays(storage_, clock_, kIncrementsTable, {.days = 30, .dry_run = true}).value();
  EXPECT_EQ(Sum(), 400);
  const auto done = RemoveOldDays(storage_, clock_, kIncrementsTable, {.days = 30}).value();
  EXPECT_EQ(done.days, dry.days);
  EXPECT_THAT(done.days, testing::ElementsAre("2024-08-25", "2024-09-03"));
  EXPECT_EQ(Sum(), 200);
  ExpectClean();
  EXPECT_EQ(Verify(storage_, nullptr).value().counted, 400);
  EXPECT_TRUE(RemoveOldDays(storage_, clock_, kIncrementsTable, {.days = 30}).value().days.empty());
}

TEST_F(LakeTest, VacuumDeletesNothingThatIsYoung) {
  const SystemClock now;
  clock_.Set(now.NowMs());
  Fill({Make(0, 100), Make(100, 200)});
  ASSERT_TRUE(Compact(storage_, clock_, kIncrementsTable, {.all_days = true}).ok());
  const std::string orphan = "item_count_increments/date=x/part-orphan.parquet";
  const std::string put = "item_count_increments/_delta_log/.put-1-2-3";
  for (const std::string& path : {orphan, put})
    ASSERT_TRUE(storage_.Put(path, "x", PutMode::kReplace).ok());
  clock_.Set(now.NowMs());
  const int64_t files = storage_.DataFiles(kIncrementsTable);
  const auto young = Vacuum(storage_, kIncrementsTable, {}).value();
  EXPECT_EQ(young.files, 0);
  EXPECT_EQ(young.kept, 4 + 2);
  storage_.now_ms = now.NowMs() + 7 * kDayMs + 1000;
  const auto dry = Vacuum(storage_, kIncrementsTable, {.dry_run = true}).value();
  EXPECT_EQ(storage_.DataFiles(kIncrementsTable), files);
  const auto old = Vacuum(storage_, kIncrementsTable, {}).value();
  EXPECT_EQ(old.files, 6);
  EXPECT_EQ(dry.files, old.files);
  EXPECT_EQ(storage_.DataFiles(kIncrementsTable), 2);
  EXPECT_EQ(Sum(), 200);
  ExpectClean();
  // The version before the compaction is still listed, but can no longer be read.
  const SnapshotPtr past = ReadSnapshotAt(storage_, kIncrementsTable, {2}).value();
  const Status read = ForEachWriteBatch(storage_, kIncrementsTable, *past, [](WriteBatch&&) {});
  EXPECT_THAT(read.message(), HasSubstr("vacuumed"));
  EXPECT_EQ(Vacuum(storage_, kIncrementsTable, {.retention = {31 * kDayMs}}).status().code(),
            StatusCode::kStop);
}

TEST_F(LakeTest, LocationsAreWrittenWhenTheyDiffer) {
  const std::vector<Location> first = {
      {.location = {2}, .name = "Straße \"2\"", .latitude = 1.5, .time_zone = "Europe/Berlin"},
      {.location = {-1}, .name = "", .parent = LocationId{2}}};
  EXPECT_TRUE(WriteLocations(storage_, clock_, first).value());
  EXPECT_FALSE(WriteLocations(storage_, clock_, {first[1], first[0]}).value());
  EXPECT_EQ(ReadLocationsTable(storage_).value(), (std::vector<Location>{first[1], first[0]}));
  EXPECT_TRUE(WriteLocations(storage_, clock_, {first[0]}).value());
  EXPECT_EQ(ReadLocationsTable(storage_).value(), std::vector<Location>{first[0]});
  EXPECT_TRUE(WriteLocations(storage_, clock_, {}).value());
  EXPECT_TRUE(ReadLocationsTable(storage_).value().empty());
  ExpectClean();
}

TEST_F(LakeTest, SaysWhatIsThere) {
  Fill({Make(0, 100, 1), Make(100, 200)});
  const SnapshotPtr snapshot = ReadSnapshot(storage_, kIncrementsTable).value();
  const TableDescription facts = Describe(kIncrementsTable, *snapshot);
  EXPECT_EQ(facts.files, 4);
  EXPECT_GT(facts.smallest_bytes, 0);
  EXPECT_LE(facts.smallest_bytes, facts.median_bytes);
  EXPECT_LE(facts.median_bytes, facts.largest_bytes);
  EXPECT_LE(facts.largest_bytes * 4, 5 * facts.bytes);
  EXPECT_EQ(facts.files_of_day,
            (std::map<std::string, int64_t>{{"2024-10-03", 2}, {"2024-10-04", 2}}));
  EXPECT_EQ(facts.txns.at("sightline/item_count_increments/log/raw/0"), 200);
  const auto history = History(storage_, kIncrementsTable, 100).value();
  ASSERT_EQ(history.size(), 4u);
  EXPECT_EQ(history[0].operation, "WRITE");
  EXPECT_EQ(history[0].files_added, 2);
  EXPECT_EQ(history[3].operation, "CREATE TABLE");
  EXPECT_EQ(ListFiles(kIncrementsTable, *snapshot).size(), 4u);
}

// By the storage's clock: ours is wrong.
TEST_F(LakeTest, SaysHowFarOtherToolsAreBehind) {
  clock_.Set(1);
  storage_.now_ms = kToday;
  {
    const auto writer = Open();
    const auto sink = Owner(*writer, Partition(0));
    int64_t first = 0;
    for (const int64_t later_ms : {1'000, 60'000, 60'000, 200'000, 60'000}) {
      *storage_.now_ms += later_ms;
      ASSERT_TRUE(Commit(*sink, {Make(first, first + 1)}).ok());
      ++first;
    }
  }
  *storage_.now_ms += 7'500;
  const TableLag lag = LagOf(storage_, kIncrementsTable).value();
  EXPECT_EQ(lag.age_ms, 7'500);
  EXPECT_EQ(lag.interval_ms, 60'000);
}

// A file does not have its location: that is its folder's name. So the same item in the same second
// in six locations gives six equal files.
TEST_F(LakeTest, EqualFilesOfDifferentLocationsAreNoCopies) {
  Segment segment{.first = {0}, .next = {6}};
  Ledger ledger{.received = 6};
  ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = 6;
  segment.ledger = {{.key = {.hour = {0}}, .ledger = ledger}};
  for (int64_t location = 0; location < 6; ++location)
    segment.counts.push_back(
        {.key = {.pane_start = {kToday}, .location = {location}, .item = "car"},
         .count = 1,
         .first_detected = {kToday},
         .last_detected = {kToday}});
  Fill({segment});
  std::set<std::string> hashes;
  ReadSnapshot(storage_, kIncrementsTable).value()->files.ForEach([&](const FilePtr& file) {
    hashes.insert(file->tags.at(std::string(kContentHashTag)));
  });
  ASSERT_EQ(hashes.size(), 1u);
  ExpectClean();
}

int64_t LostIn(Storage& storage) {
  int64_t lost = 0;
  const SnapshotPtr snapshot = ReadSnapshot(storage, kLedgerTable).value();
  const Status read = ForEachWriteBatch(storage, kLedgerTable, *snapshot, [&](WriteBatch&& batch) {
    for (const LedgerRow& row : batch.ledger) lost += row.ledger.lost;
  });
  EXPECT_TRUE(read.ok()) << read.message();
  return lost;
}

TEST_F(LakeTest, LostOffsetsAreInTheLedgerAndLeaveNoHole) {
  Fill({Make(0, 10), GapSegment({10}, {25}, {0}), Make(25, 30)});
  ExpectClean();
  EXPECT_EQ(LostIn(storage_), 15);
  EXPECT_EQ(Verify(storage_, nullptr).value().lost, 15);
  Segment impossible = GapSegment({30}, {40}, {0});
  impossible.ledger[0].ledger.lost = 11;
  Fill({impossible});
  EXPECT_THAT(Verify(storage_, nullptr).value().findings[0].what,
              HasSubstr("a ledger row of offsets [30, 40) says that 11 of them are lost"));
}

// A table as an earlier program created it, with a file in it.
void MakeLedgerWithoutLost(Storage& storage, const Clock& clock, const Segment& segment) {
  TableSpec spec = LedgerSpec();
  std::erase_if(spec.columns, [](const Column& column) { return column.name == "lost"; });
  const SnapshotPtr made = OpenOrCreate(storage, clock, spec).value();
  const WriteBatch batch = ToLedger(Partition(0), {&segment, 1});
  const WriteBatch* const batches[] = {&batch};
  std::vector<AddFile> files;
  const Status written = ForEachPartition(
      LedgerSpec(), {.today = DayOf({clock.NowMs()})}, batches,
      [&](const PartitionValues& partition, const arrow::Table& rows) {
        const auto old = rows.RemoveColumn(rows.schema()->GetFieldIndex("lost")).ValueOrDie();
        files.push_back(WriteDataFile(storage, clock, spec, partition, *old).value());
        return Status::Ok();
      });
  ASSERT_TRUE(written.ok()) << written.message();
  const auto add = [&](const Snapshot&) -> Result<Change> {
    return Change{.operation = "WRITE",
                  .adds = files,
                  .txns = {{OffsetTxn(kLedgerTable, Partition(0)), segment.next.v}}};
  };
  ASSERT_TRUE(CommitChange(storage, clock, kLedgerTable, made, add).status.ok());
}

TEST_F(LakeTest, ALedgerWithoutLostOffsetsGetsTheColumnWhenSomeAreLost) {
  MakeLedgerWithoutLost(storage_, clock_, Make(0, 10));
  {
    const auto writer = Open();
    ASSERT_TRUE(Commit(*Owner(*writer, Partition(0)), {Make(0, 10)}).ok());
  }
  ExpectClean();
  EXPECT_EQ(LostIn(storage_), 0);
  const auto beside =
      Open({.table = std::string(kLedgerTable)});  // writes as the earlier program did
  const auto other = Owner(*beside, Partition(1));
  ASSERT_TRUE(Commit(*other, {Make(0, 10)}, Partition(1)).ok());
  for (int times = 0; times < 2; ++times) {
    Fill({Make(10 + 20 * times, 20 + 20 * times),
          GapSegment({20 + 20 * times}, {30 + 20 * times}, {0})});
    ASSERT_TRUE(Commit(*other, {Make(10 * times + 10, 10 * times + 20)}, Partition(1)).ok());
  }
  {
    const auto writer = Open();
    ASSERT_TRUE(Commit(*Owner(*writer, Partition(1)), {Make(0, 30)}, Partition(1)).ok());
  }
  ExpectClean();
  EXPECT_EQ(LostIn(storage_), 20);
  int added = 0;
  const std::vector<HistoryEntry> history = History(storage_, kLedgerTable, 100).value();
  for (const HistoryEntry& entry : history) added += entry.operation == "ADD COLUMNS";
  EXPECT_EQ(added, 1);
  clock_.Advance(2 * kDayMs);
  ASSERT_TRUE(Compact(storage_, clock_, kLedgerTable, {.all_days = true}).ok());
  ExpectClean();
  EXPECT_EQ(LostIn(storage_), 20);
}

TEST_F(LakeTest, AnotherSchemaIsRefused) {
  TableSpec spec = IncrementsSpec(Layout::kByLocation);
  spec.columns[6].type = "integer";
  ASSERT_TRUE(OpenOrCreate(storage_, clock_, spec).ok());
  const auto opened = LakeWriter::Open(storage_, clock_, {});
  EXPECT_THAT(opened.status().message(),
              HasSubstr("has column 'item_count' of type integer, not long"));
}

}  // namespace
}  // namespace sightline::lake
