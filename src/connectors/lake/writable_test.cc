// Tests of what other programs may do to our tables, and of clocks that are wrong.
#include "connectors/lake/writable.h"

#include <arrow/api.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/commit_json.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/data_file.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/testing_lake.h"

namespace sightline::lake {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int64_t kHour = 3'600'000;

class WritableTest : public testing::Test, protected TestLake {
 protected:
  // Commits as another program does; returns the version.
  Version Foreign(const std::string& operation, const std::vector<std::string>& lines,
                  std::string_view table = kIncrementsTable) {
    const Version next{ReadSnapshot(storage_, table).value()->version.v + 1};
    std::string body = fmt::format(
        R"({{"commitInfo":{{"timestamp":1,"operation":"{}","engineInfo":"Spark/4"}}}})", operation);
    for (const std::string& line : lines) body += "\n" + line;
    EXPECT_TRUE(storage_.Put(CommitPath(table, next), body + "\n", PutMode::kIfAbsent).ok());
    return next;
  }
  static std::string Remove(const std::string& path, bool data_change = true) {
    return fmt::format(R"({{"remove":{{"path":"{}","deletionTimestamp":1,"dataChange":{}}}}})",
                       path, data_change);
  }
  static std::string Add(const std::string& path, const std::string& stats = "") {
    return fmt::format(
        R"({{"add":{{"path":"{}","partitionValues":{{"geographical_location_oid":"1","date":"2024-10-04"}},)"
        R"("size":1,"modificationTime":1,"dataChange":true,"stats":"{}"}}}})",
        path, stats);
  }
  std::vector<std::string> Files(std::string_view table = kIncrementsTable) {
    std::vector<std::string> paths;
    ReadSnapshot(storage_, table).value()->files.ForEach([&](const FilePtr& file) {
      paths.push_back(file->path);
    });
    return paths;
  }
  std::vector<std::string> RemoveAll() {
    std::vector<std::string> lines;
    for (const std::string& path : Files()) lines.push_back(Remove(path));
    return lines;
  }
  // A line that changes the table's metadata as `edit` does.
  std::string NewMetadata(const std::function<void(Metadata&)>& edit,
                          std::string_view table = kIncrementsTable) {
    Metadata metadata = *ReadSnapshot(storage_, table).value()->metadata;
    edit(metadata);
    const std::string body = EncodeCommit({.metadata = metadata}, 1, "id");
    const size_t second = body.find('\n') + 1;
    return body.substr(second, body.find('\n', second) - second);
  }
  std::string SetProperty(const std::string& name, const std::string& value,
                          std::string_view table = kIncrementsTable) {
    return NewMetadata([&](Metadata& metadata) { metadata.configuration[name] = value; }, table);
  }
  std::string AddColumn(const std::string& field) {
    return NewMetadata([&](Metadata& metadata) {
      metadata.schema_json.insert(metadata.schema_json.rfind("]}"), "," + field);
    });
  }
  std::string Trouble(Sink& sink, const Segment& segment) {
    const Result<Offset> committed = Commit(sink, {segment});
    EXPECT_EQ(committed.status().code(), StatusCode::kRetry);  // counts wait
    return committed.status().message();
  }
};

// Whatever another program calls it, and whether it commits while we write or while we are away.
TEST_F(WritableTest, ForeignRemovalsOfOurRowsStopTheWriterUntilTheyAreBack) {
  for (const std::string operation : {"DELETE", "RESTORE", "CREATE OR REPLACE TABLE", "MERGE"}) {
    storage_.Clear();
    const auto writer = Open();
    const auto sink = Owner(*writer, Partition(0));
    ASSERT_TRUE(Commit(*sink, {Make(0, 10), Make(10, 20)}).ok());
    const std::vector<std::string> files = Files();
    const Version version = Foreign(operation, {Remove(files[0]), Add("part-their-rest.parquet")});
    const auto words =
        AllOf(HasSubstr("'Spark/4'"), HasSubstr(fmt::format("version {}", version.v)),
              HasSubstr(operation), HasSubstr("1 files"), HasSubstr("lake verify"),
              HasSubstr(fmt::format("TO VERSION AS OF {}", version.v - 1)));
    EXPECT_THAT(Trouble(*sink, Make(20, 30)), words);
    EXPECT_THAT(writer->trouble(), words);
    EXPECT_EQ(ReadSnapshot(storage_, kIncrementsTable).value()->version, version);
    // Nor does anything else of ours go on, least of all what would delete the files.
    EXPECT_THAT(LakeWriter::Open(storage_, clock_, {}).status().message(), words);
    EXPECT_THAT(Vacuum(storage_, kIncrementsTable, {.retention = {0}}).status().message(), words);
    // Also if another program has put a checkpoint behind it.
    ASSERT_TRUE(WriteCheckpoint(storage_, kIncrementsTable,
                                *ReadSnapshot(storage_, kIncrementsTable).value(), 1)
                    .ok());
    EXPECT_THAT(LakeWriter::Open(storage_, clock_, {}).status().message(), words);
    // Bringing them back ends it, without a restart.
    Foreign("RESTORE", {Remove("part-their-rest.parquet"),
                        fmt::format(R"({{"add":{{"path":"{}","partitionValues":{{)"
                                    R"("geographical_location_oid":"0","date":"2024-10-04"}},)"
                                    R"("size":1,"modificationTime":1,"dataChange":true}}}})",
                                    files[0])});
    const Result<Offset> committed = Commit(*sink, {Make(20, 30)});
    ASSERT_TRUE(committed.ok()) << committed.status().message();
    EXPECT_EQ(writer->trouble(), "");
  }
}

// A reader that begins at a checkpoint knows as well whose files are removed behind it.
TEST_F(WritableTest, AForeignRemovalBehindACheckpointIsSeen) {
  ASSERT_TRUE(Commit(*Owner(*Open(), Partition(0)), {Make(0, 10)}).ok());
  ASSERT_TRUE(WriteCheckpoint(storage_, kIncrementsTable,
                              *ReadSnapshot(storage_, kIncrementsTable).value(), 1)
                  .ok());
  Foreign("DELETE", RemoveAll());
  EXPECT_THAT(LakeWriter::Open(storage_, clock_, {}).status().message(), HasSubstr("DELETE"));
}

TEST_F(WritableTest, AnOperatorMayAcceptAForeignRemoval) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  ASSERT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
  const Version version = Foreign("TRUNCATE", RemoveAll());
  EXPECT_THAT(Trouble(*sink, Make(10, 20)),
              HasSubstr(fmt::format("'{}' to '{}'", kAcceptedProperty, version.v)));
  Foreign("SET TBLPROPERTIES", {SetProperty(kAcceptedProperty, std::to_string(version.v))});
  ASSERT_TRUE(Commit(*sink, {Make(10, 20)}).ok());
  EXPECT_EQ(Sum(), 10);
  // It accepts no later one.
  Foreign("TRUNCATE", RemoveAll());
  EXPECT_THAT(Trouble(*sink, Make(20, 30)), HasSubstr("TRUNCATE"));
}

// What other programs may do: pack files, and add and remove rows of their own.
TEST_F(WritableTest, RowsOfOthersAreTheirs) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  ASSERT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
  const std::string theirs = R"({\"numRecords\":7,\"nullCount\":{\"source\":7}})";
  const std::vector<std::string> files = Files();
  Foreign("WRITE", {Add("part-theirs.parquet", theirs)});
  ASSERT_TRUE(Commit(*sink, {Make(10, 20)}).ok());
  Foreign("DELETE", {Remove("part-theirs.parquet")});
  Foreign("OPTIMIZE", {Remove(files[0], false), Add("part-packed.parquet")});
  ASSERT_TRUE(Commit(*sink, {Make(20, 30)}).ok());
  EXPECT_EQ(writer->trouble(), "");
}

TEST_F(WritableTest, OffsetsThatVanishOrGoBackStopTheWriter) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  ASSERT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
  const std::string app = OffsetTxn(kIncrementsTable, Partition(0));
  const Version version =
      Foreign("STREAMING UPDATE", {fmt::format(R"({{"txn":{{"appId":"{}","version":5}}}})", app)});
  EXPECT_THAT(Trouble(*sink, Make(10, 20)), HasSubstr("set back 1 offsets"));
  ASSERT_TRUE(storage_.Delete(CommitPath(kIncrementsTable, version)).ok());
  ASSERT_TRUE(Commit(*Owner(*Open(), Partition(0), 2), {Make(10, 20)}).ok());
  // A checkpoint that forgets transactions, and a log that begins with it.
  Snapshot forgetful = *ReadSnapshot(storage_, kIncrementsTable).value();
  forgetful.txns.clear();
  ASSERT_TRUE(WriteCheckpoint(storage_, kIncrementsTable, forgetful, 1).ok());
  EXPECT_THAT(LakeWriter::Open(storage_, clock_, {}).status().message(),
              AllOf(HasSubstr("has lost up to which offsets"), HasSubstr("'log/raw'")));
}

TEST_F(WritableTest, CheckpointsMayNotForgetOffsets) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  const std::string name = "delta.setTransactionRetentionDuration";
  Foreign("SET TBLPROPERTIES", {SetProperty(name, "interval 7 days")});
  EXPECT_THAT(Trouble(*sink, Make(0, 10)), AllOf(HasSubstr(name), HasSubstr("UNSET")));
  EXPECT_THAT(LakeWriter::Open(storage_, clock_, {}).status().message(), HasSubstr(name));
  EXPECT_FALSE(Compact(storage_, clock_, kIncrementsTable, {.all_days = true}).ok() &&
               writer->trouble().empty());
  Foreign("UNSET TBLPROPERTIES",
          {NewMetadata([&](Metadata& metadata) { metadata.configuration.erase(name); })});
  EXPECT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
}

TEST_F(WritableTest, AMovedTableIsRefused) {
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0));
  Foreign("MOVE", {SetProperty(kMovedToProperty, "hdfs://prod/lake")});
  EXPECT_THAT(Trouble(*sink, Make(0, 10)),
              AllOf(HasSubstr("'hdfs://prod/lake'"), HasSubstr("lake.dir")));
}

TEST_F(WritableTest, AddedColumnsAreKept) {
  const auto writer = Open({.max_partitions = 3});
  const auto sink = Owner(*writer, Partition(0));
  ASSERT_TRUE(Commit(*sink, {Make(0, 100, 1)}).ok());
  const std::string field =
      R"({"name":"weather","type":"string","nullable":true,"metadata":{"comment":"by \"us\""}})";
  Foreign("ADD COLUMNS", {AddColumn(field)});
  ASSERT_TRUE(Commit(*sink, {Make(100, 200, 1)}).ok());
  EXPECT_EQ(Sum(), 200);
  const auto expect_kept = [&] {
    const SnapshotPtr now = ReadSnapshot(storage_, kIncrementsTable).value();
    EXPECT_THAT(now->metadata->schema_json, HasSubstr(field));
    EXPECT_THAT(SpecOf(kIncrementsTable, *now).value().foreign_columns,
                testing::ElementsAre("weather"));
  };
  expect_kept();
  // A file of theirs may have values there, so a compaction leaves it; ours are packed.
  Foreign("WRITE", {Add("part-theirs.parquet")});
  EXPECT_EQ(Compact(storage_, clock_, kIncrementsTable, {.all_days = true}).value().files_after, 2);
  EXPECT_THAT(Files(), testing::Contains("part-theirs.parquet"));
  // For the same reason the layout cannot change, and says so.
  EXPECT_THAT(Trouble(*sink, Make(200, 300, 1, 9)),
              AllOf(HasSubstr("part-theirs.parquet"), HasSubstr("lake.max_partitions")));
  Foreign("DELETE", {Remove("part-theirs.parquet"), SetProperty(kAcceptedProperty, "1000")});
  ASSERT_TRUE(Commit(*sink, {Make(200, 300, 1, 9)}).ok());
  EXPECT_EQ(ReadSnapshot(storage_, kIncrementsTable).value()->metadata->partition_columns,
            IncrementsSpec(Layout::kByBucket).partition_columns);
  expect_kept();
  EXPECT_EQ(Sum(), 300);
}

TEST_F(WritableTest, ColumnsThatWeCannotFillStopTheWriter) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"name":"must","type":"string","nullable":false,"metadata":{}})", "'must'"},
      {R"({"name":"big","type":"long","nullable":true,"metadata":{"delta.invariants":"{}"}})",
       "'big'"}};
  for (const auto& [field, words] : cases) {
    storage_.Clear();
    const auto writer = Open();
    const auto sink = Owner(*writer, Partition(0));
    ASSERT_TRUE(Commit(*sink, {Make(0, 10)}).ok());
    const Version version = Foreign("ADD COLUMNS", {AddColumn(field)});
    EXPECT_THAT(Trouble(*sink, Make(10, 20)), HasSubstr(words));
    EXPECT_THAT(LakeWriter::Open(storage_, clock_, {}).status().message(), HasSubstr(words));
    // It goes on when the column is gone.
    const std::string schema =
        ReadSnapshotAt(storage_, kIncrementsTable, {version.v - 1}).value()->metadata->schema_json;
    Foreign("REPLACE COLUMNS",
            {NewMetadata([&](Metadata& metadata) { metadata.schema_json = schema; })});
    EXPECT_TRUE(Commit(*sink, {Make(10, 20)}).ok());
  }
}

// Our clock is three hours ahead or behind, or years: ages are those of the storage's clock.
class WrongClockTest : public testing::TestWithParam<int64_t>, protected TestLake {
 protected:
  void SetUp() override {
    storage_.now_ms = kNow;
    clock_.Set(kNow + GetParam());
  }
  void Advance(int64_t ms) {
    *storage_.now_ms += ms;
    clock_.Advance(ms);
  }
  static constexpr int64_t kNow = kToday + 23 * kHour;
};

TEST_P(WrongClockTest, VacuumKeepsFilesForAsLongAsItSays) {
  Fill({Make(0, 100), Make(100, 200)});
  Advance(10 * kHour);
  ASSERT_TRUE(Compact(storage_, clock_, kIncrementsTable, {.all_days = true}).ok());
  const std::string orphan = "item_count_increments/date=x/part-orphan.parquet";
  ASSERT_TRUE(storage_.Put(orphan, "x", PutMode::kReplace).ok());
  ASSERT_TRUE(WriteCheckpoint(storage_, kIncrementsTable,
                              *ReadSnapshot(storage_, kIncrementsTable).value(),
                              storage_.NowMs(LogDirectory(kIncrementsTable)).value())
                  .ok());
  Advance(2 * kHour - 1);
  const VacuumOptions two_hours{.retention = {2 * kHour}};
  EXPECT_EQ(Vacuum(storage_, kIncrementsTable, two_hours).value().files, 0);
  Advance(1);
  // Who knows that the storage's clock is ahead may say so.
  EXPECT_EQ(Vacuum(storage_, kIncrementsTable,
                   {.retention = {2 * kHour}, .not_after_ms = *storage_.now_ms - 1})
                .value()
                .files,
            0);
  EXPECT_EQ(Vacuum(storage_, kIncrementsTable, two_hours).value().files, 5);
  EXPECT_EQ(Sum(), 200);
}

TEST_P(WrongClockTest, RetentionRemovesTheDaysThatAreOver) {
  Fill({Make(0, 100, 3), Make(100, 200, 2), Make(200, 300, 1), Make(300, 400)});
  // A later row of the ledger, so that it does not hold back the day.
  clock_.Set(kNow + kDayMs);
  Fill({Make(400, 401)});
  clock_.Set(kNow + GetParam());
  const auto days = [&] {
    return RemoveOldDays(storage_, clock_, kIncrementsTable, {.days = 2}).value().days;
  };
  EXPECT_THAT(days(), testing::ElementsAre("2024-10-01"));
  Advance(kHour - 1);
  EXPECT_THAT(days(), testing::IsEmpty());
  Advance(1);
  EXPECT_THAT(days(), testing::ElementsAre("2024-10-02"));
  EXPECT_EQ(DamageOf(storage_), "");
}

TEST_P(WrongClockTest, TheLogKeepsWhatItSays) {
  // Closing the writer waits for what follows its last commit.
  const auto write = [&](int64_t epoch, const std::vector<Segment>& segments) {
    const auto writer = Open({.checkpoint_commits = 2, .log_retention = {2 * kHour}});
    const auto sink = Owner(*writer, Partition(0), epoch);
    for (const Segment& segment : segments) ASSERT_TRUE(Commit(*sink, {segment}).ok());
  };
  const auto oldest = [&] {
    return ListLog(storage_, kIncrementsTable).value().commits.front().version.v;
  };
  write(1, {Make(0, 1)});  // makes the table, fences and commits: version 2
  Advance(2 * kHour - 1);
  write(2, {Make(1, 2), Make(2, 3), Make(3, 4)});
  EXPECT_EQ(oldest(), 0);
  Advance(1);
  write(3, {Make(4, 5), Make(5, 6)});
  EXPECT_EQ(oldest(), 2);
}

INSTANTIATE_TEST_SUITE_P(Hours, WrongClockTest,
                         testing::Values(0, 3 * kHour, -3 * kHour, 20'000 * kHour),
                         [](const auto& info) { return fmt::format("case{}", info.index); });

}  // namespace
}  // namespace sightline::lake
