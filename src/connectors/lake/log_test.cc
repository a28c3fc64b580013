// Tests of the log: what is read, what is refused, and what a commit does when it meets another
// one.
#include "connectors/lake/log.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>

#include <string>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/commit_json.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/parquet_bytes.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/testing.h"
#include "connectors/lake/writable.h"

namespace sightline::lake {
namespace {

using lake_testing::TestStorage;
using testing::HasSubstr;

const std::string kTable(kLocationsTable);

class LogTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto made = OpenOrCreate(storage_, clock_, LocationsSpec());
    ASSERT_TRUE(made.ok()) << made.status().message();
  }
  static Change AddOne(int64_t number) {
    return {.operation = "WRITE",
            .adds = {{.path = fmt::format("part-{}.parquet", number),
                      .size_bytes = number,
                      .stats = R"({"numRecords":1})",
                      .tags = {{"a", "b"}}}},
            .txns = {{"app", number}}};
  }
  CommitResult Add(int64_t number, SnapshotPtr from) {
    return CommitChange(storage_, clock_, kTable, std::move(from),
                        [&](const Snapshot&) -> Result<Change> { return AddOne(number); });
  }
  SnapshotPtr Read() {
    const auto snapshot = ReadSnapshot(storage_, kTable);
    EXPECT_TRUE(snapshot.ok()) << snapshot.status().message();
    return snapshot.ok() ? snapshot.value() : std::make_shared<const Snapshot>();
  }
  void Grow(int64_t commits) {
    SnapshotPtr snapshot = Read();
    for (int64_t i = 0; i < commits; ++i) {
      const CommitResult added = Add(snapshot->version.v + 1, snapshot);
      ASSERT_TRUE(added.status.ok()) << added.status.message();
      snapshot = added.snapshot;
    }
  }
  std::string ReadError() { return ReadSnapshot(storage_, kTable).status().message(); }
  void PutCommit(int64_t version, const std::string& text) {
    ASSERT_TRUE(storage_.Put(CommitPath(kTable, {version}), text, PutMode::kReplace).ok());
  }

  TestStorage storage_;
  ManualClock clock_{1'000'000};
};

TEST(JsonText, EscapesAndDecodes) {
  EXPECT_EQ(Quoted("a\"b\\\n\x01é"), "\"a\\\"b\\\\\\u000a\\u0001é\"");
  EXPECT_EQ(UrlDecoded("a%20b%2Fc%zz%4"), "a b/c%zz%4");
  EXPECT_EQ(ContentHash(""), "cbf29ce484222325");
  EXPECT_NE(RandomId(), RandomId());
}

TEST(Days, AreUtc) {
  EXPECT_EQ(DayText(DayOf({-1})), "1969-12-31");
  EXPECT_EQ(DayText(DayOf(kFirstEventTime)), "0001-01-01");
  EXPECT_EQ(DayText(DayOf(kLastEventTime)), "9999-12-31");
  EXPECT_EQ(TimeText(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(ParseDay("1969-12-31").value(), Day{-1});
  for (const char* text :
       {"", "2026-02-30", "2026-1-1", "2026-11-22x", "26-11-0022", "0000-01-01", "-001-01-01"})
    EXPECT_FALSE(ParseDay(text).ok()) << text;
}

TEST(PathSet, IsAMapWhateverIsCopied) {
  PathSet<AddFile> set;
  std::map<std::string, int64_t> model;
  std::vector<std::pair<PathSet<AddFile>, std::map<std::string, int64_t>>> copies;
  uint64_t random = 1;
  for (int i = 0; i < 20'000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const std::string path = std::to_string(random >> 33 & 0x7ff);
    if ((random >> 50) % 3 == 0) {
      set.Erase(path);
      model.erase(path);
    } else {
      set.Put(std::make_shared<const AddFile>(AddFile{.path = path, .size_bytes = i}));
      model[path] = i;
    }
    if (i % 1999 == 0) copies.emplace_back(set, model);
  }
  copies.emplace_back(set, model);
  for (const auto& [copy, expected] : copies) {
    std::map<std::string, int64_t> actual;
    std::string before;
    copy.ForEach([&](const FilePtr& file) {
      EXPECT_LT(before, file->path);
      before = file->path;
      actual[file->path] = file->size_bytes;
    });
    EXPECT_EQ(actual, expected);
    EXPECT_EQ(copy.size(), expected.size());
  }
}

TEST_F(LogTest, ACheckpointSaysWhatTheCommitsSay) {
  Grow(20);
  const auto removed = CommitChange(storage_, clock_, kTable, Read(), [](const Snapshot& now) {
    return Result<Change>(
        Change{.operation = "DELETE", .removes = {now.files.Find("part-3.parquet")}});
  });
  ASSERT_TRUE(removed.status.ok());
  const SnapshotPtr by_commits = Read();
  ASSERT_TRUE(WriteCheckpoint(storage_, kTable, *by_commits, clock_.NowMs()).ok());
  for (int64_t version = 0; version <= 21; ++version)
    ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {version})).ok());
  const SnapshotPtr by_checkpoint = Read();
  EXPECT_EQ(by_checkpoint->version, by_commits->version);
  EXPECT_EQ(by_checkpoint->txns, by_commits->txns);
  EXPECT_EQ(by_checkpoint->metadata->schema_json, by_commits->metadata->schema_json);
  EXPECT_EQ(by_checkpoint->metadata->configuration, by_commits->metadata->configuration);
  EXPECT_EQ(by_checkpoint->files.size(), 19u);
  EXPECT_EQ(by_checkpoint->tombstones.size(), 1u);
  const FilePtr file = by_checkpoint->files.Find("part-7.parquet");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->stats, R"({"numRecords":1})");
  EXPECT_EQ(file->tags, (std::map<std::string, std::string>{{"a", "b"}}));
  EXPECT_EQ(Add(100, by_checkpoint).snapshot->version, Version{22});
  const auto cleaned = ReadSnapshotAt(storage_, kTable, {4});
  EXPECT_THAT(cleaned.status().message(), HasSubstr("was cleaned"));
}

TEST_F(LogTest, RefreshCostsTheTailOnly) {
  Grow(30);
  const SnapshotPtr old = Read();
  Grow(2);
  storage_.reads = 0;
  const SnapshotPtr now = Refresh(storage_, kTable, old).value();
  EXPECT_EQ(storage_.reads, 3);
  EXPECT_EQ(now->version, Version{32});
  EXPECT_EQ(old->version, Version{30});
  EXPECT_EQ(old->files.size(), 30u);
  EXPECT_EQ(Refresh(storage_, kTable, now).value(), now);
}

TEST_F(LogTest, TravelsInTime) {
  Grow(9);
  EXPECT_EQ(ReadSnapshotAt(storage_, kTable, {4}).value()->files.size(), 4u);
  EXPECT_THAT(ReadSnapshotAt(storage_, kTable, {10}).status().message(), HasSubstr("newest is 9"));
  EXPECT_EQ(VersionAt(storage_, kTable, INT64_MAX).value(), Version{9});
  EXPECT_THAT(VersionAt(storage_, kTable, 5).status().message(),
              HasSubstr("no version of that time"));
}

TEST_F(LogTest, DamageNamesTheFile) {
  Grow(8);
  const std::string good = *storage_.ReadWhole(CommitPath(kTable, {5})).value();
  const std::string name = "00000000000000000005.json";
  for (size_t size = 0; size < good.size(); ++size) {
    PutCommit(5, good.substr(0, size));
    EXPECT_THAT(ReadError(), HasSubstr(name)) << size;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x20);
    PutCommit(5, bytes);
    const bool in_body = at > good.find('\n');
    if (in_body) {
      EXPECT_THAT(ReadError(), HasSubstr(name)) << at;
    }
  }
  ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {5})).ok());
  EXPECT_THAT(ReadError(), testing::AllOf(HasSubstr("gap"), HasSubstr(name)));
}

TEST_F(LogTest, RefusesWhatItDoesNotKnow) {
  Grow(2);
  const auto refused = [&](const std::string& line, const char* words) {
    PutCommit(3, line + "\n");
    EXPECT_THAT(ReadError(), HasSubstr(words));
    ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {3})).ok());
  };
  refused(R"({"protocol":{"minReaderVersion":2,"minWriterVersion":5}})", "reader version 2");
  refused(R"({"add":{"path":"x","deletionVector":{"storageType":"u"}}})", "deletion vector");
  refused(R"({"add":{"size":1}})", "no path");
  PutCommit(3, R"({"protocol":{"minReaderVersion":1,"minWriterVersion":7}})");
  EXPECT_THAT(Add(4, Read()).status.message(), HasSubstr("writer version 7"));
  ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {3})).ok());
  // A checkpoint without all of its parts is needed only if the commits before it are gone.
  const std::string part =
      LogDirectory(kTable) + "/00000000000000000001.checkpoint.0000000001.0000000002.parquet";
  ASSERT_TRUE(storage_.Put(part, "x", PutMode::kReplace).ok());
  EXPECT_EQ(Read()->version, Version{2});
  for (int64_t version : {0, 1}) ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {version})).ok());
  EXPECT_THAT(ReadError(), testing::AllOf(HasSubstr("parts of it are missing"), HasSubstr(part)));
  // What only looks like a part is none.
  ASSERT_TRUE(storage_.Delete(part).ok());
  for (const char* name :
       {"0000000000.0000000001", "0000000002.0000000001", "000000001.0000000001"})
    ASSERT_TRUE(storage_
                    .Put(fmt::format("{}/00000000000000000001.checkpoint.{}.parquet",
                                     LogDirectory(kTable), name),
                         "x", PutMode::kReplace)
                    .ok());
  EXPECT_THAT(ReadError(), HasSubstr("cannot read"));
}

TEST_F(LogTest, ADamagedCheckpointIsNotPassedOver) {
  Grow(5);
  ASSERT_TRUE(WriteCheckpoint(storage_, kTable, *Read(), clock_.NowMs()).ok());
  const std::string path = CheckpointPath(kTable, {5});
  const std::string good = *storage_.ReadWhole(path).value();
  for (size_t size = 0; size < good.size(); size += 97) {
    ASSERT_TRUE(storage_.Put(path, good.substr(0, size), PutMode::kReplace).ok());
    EXPECT_THAT(ReadError(), HasSubstr(path)) << size;
  }
}

TEST_F(LogTest, OfTwoWhoCommitBothAreThere) {
  const SnapshotPtr old = Add(0, Read()).snapshot;
  ASSERT_TRUE(Add(1, old).status.ok());
  const CommitResult second = Add(2, old);
  ASSERT_TRUE(second.status.ok());
  EXPECT_EQ(second.conflicts, 1);
  EXPECT_EQ(second.snapshot->version, Version{3});
  EXPECT_EQ(Read()->files.size(), 3u);
}

TEST_F(LogTest, AChangeIsPlannedAgainAfterAConflict) {
  Grow(3);
  const SnapshotPtr old = Read();
  const FilePtr file = old->files.Find("part-2.parquet");
  const auto remove = [&](const Snapshot& now) -> Result<Change> {
    RETURN_IF_ERROR(CheckStillThere(now, {file}));
    return Change{.operation = "DELETE", .removes = {file}};
  };
  ASSERT_TRUE(CommitChange(storage_, clock_, kTable, old, remove).status.ok());
  const CommitResult again = CommitChange(storage_, clock_, kTable, old, remove);
  EXPECT_EQ(again.status.code(), StatusCode::kRetry);
  EXPECT_TRUE(again.known);
  EXPECT_THAT(again.status.message(), HasSubstr("part-2.parquet"));
  EXPECT_EQ(Read()->version, Version{4});
}

TEST_F(LogTest, ALostAnswerIsFound) {
  const auto lose = [](std::string_view) { return Status::Rebuild("the answer was lost"); };
  storage_.after_put = lose;
  const CommitResult lost = Add(1, Read());
  EXPECT_TRUE(lost.status.ok()) << lost.status.message();
  storage_.after_put = nullptr;
  EXPECT_EQ(Read()->version, Version{1});
  // The same, but the commit was never written: nobody can know.
  storage_.before_put = lose;
  const CommitResult unknown = Add(2, Read());
  EXPECT_EQ(unknown.status.code(), StatusCode::kRebuild);
  EXPECT_FALSE(unknown.known);
}

// As when the file system of the lake is away for a while: what is there is not the log that is
// known, and nothing is written into it.
TEST_F(LogTest, AVersionFollowsOnlyTheOneBefore) {
  Grow(3);
  const SnapshotPtr known = Read();
  std::vector<std::pair<std::string, std::string>> log;
  for (int64_t version = 0; version <= 3; ++version) {
    const std::string path = CommitPath(kTable, {version});
    log.emplace_back(path, *storage_.ReadWhole(path).value());
  }
  const auto refused = [&](const char* words) {
    const size_t files = storage_.List(kTable).value().size();
    const CommitResult added = Add(4, known);
    EXPECT_EQ(added.status.code(), StatusCode::kStop);
    EXPECT_THAT(added.status.message(), HasSubstr(words));
    EXPECT_TRUE(added.known);
    EXPECT_EQ(added.snapshot, known);
    EXPECT_EQ(storage_.List(kTable).value().size(), files);
  };
  ASSERT_TRUE(storage_.Delete(log[3].first).ok());
  refused("only version 2");
  ASSERT_TRUE(storage_.Delete(log[1].first).ok());
  refused("a log that cannot be read");
  storage_.Clear();
  refused("no such table");
  SetUp();
  refused("another one");
  Grow(8);  // the other table is newer, too
  refused("another one");
  storage_.Clear();
  for (const auto& [path, bytes] : log)
    ASSERT_TRUE(storage_.Put(path, bytes, PutMode::kReplace).ok());
  EXPECT_EQ(Add(4, known).snapshot->version, Version{4});
}

// The log was restored from a copy, and others have gone on from there.
TEST_F(LogTest, ANewerLogOfTheSameTableIsReadAnew) {
  Grow(3);
  const SnapshotPtr known = Read();
  ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {3})).ok());
  const CommitResult other = Add(1'000'000, Read());
  ASSERT_TRUE(other.status.ok());
  ASSERT_EQ(other.snapshot->version, known->version);
  const CommitResult added = Add(4, known);
  ASSERT_TRUE(added.status.ok()) << added.status.message();
  EXPECT_EQ(added.snapshot->version, Version{4});
  EXPECT_EQ(Read()->files.size(), 4u);
  EXPECT_EQ(Read()->files.Find("part-3.parquet"), nullptr);
  EXPECT_NE(added.snapshot->files.Find("part-1000000.parquet"), nullptr);
}

// As Spark writes a large checkpoint: the rows of one table in several files of equal columns.
std::vector<std::string> InParts(const std::string& checkpoint, int64_t parts) {
  const auto rows = OpenParquet(checkpoint).ValueOrDie()->ReadTable().ValueOrDie();
  const int64_t size = (rows->num_rows() + parts - 1) / parts;
  std::vector<std::string> files;
  for (int64_t part = 0; part < parts; ++part) {
    const auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
    EXPECT_TRUE(parquet::arrow::WriteTable(*rows->Slice(part * size, size),
                                           arrow::default_memory_pool(), out)
                    .ok());
    files.push_back(out->Finish().ValueOrDie()->ToString());
  }
  return files;
}

TEST_F(LogTest, ACheckpointInPartsCountsWhenAllAreThere) {
  Grow(20);
  const SnapshotPtr by_commits = Read();
  const auto parts = InParts(EncodeCheckpoint(*by_commits, clock_.NowMs()).value(), 3);
  const auto path = [&](size_t part) {
    return fmt::format("{}/00000000000000000020.checkpoint.{:010}.0000000003.parquet",
                       LogDirectory(kTable), part + 1);
  };
  const auto put = [&](size_t part) {
    ASSERT_TRUE(storage_.Put(path(part), parts[part], PutMode::kReplace).ok());
  };
  put(2);
  put(0);
  EXPECT_TRUE(ListLog(storage_, kTable).value().checkpoints.empty());
  EXPECT_EQ(Read()->checkpoint, kNoVersion);
  put(1);
  for (int64_t version = 0; version <= 20; ++version)
    ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {version})).ok());
  const SnapshotPtr by_parts = Read();
  EXPECT_EQ(by_parts->checkpoint, Version{20});
  EXPECT_EQ(by_parts->files.size(), 20u);
  EXPECT_EQ(by_parts->txns, by_commits->txns);
  EXPECT_EQ(by_parts->metadata->id, by_commits->metadata->id);
  EXPECT_EQ(Add(21, by_parts).snapshot->version, Version{21});
  for (size_t part = 0; part < 3; ++part) {
    ASSERT_TRUE(storage_.Put(path(part), parts[part].substr(0, 99), PutMode::kReplace).ok());
    EXPECT_THAT(ReadError(), HasSubstr("is damaged")) << part;
    put(part);
  }
  // They are cleaned together.
  ASSERT_TRUE(WriteCheckpoint(storage_, kTable, *Read(), clock_.NowMs()).ok());
  EXPECT_EQ(CleanLog(storage_, kTable, -1000, storage_.NowMs(kTable).value()).value(), 3);
  EXPECT_EQ(Read()->files.size(), 21u);
}

// Another engine commits the next versions, makes a checkpoint of them and cleans its commits,
// while ours is away: then the next number is free, and in no version any more.
class CleanedLogTest : public LogTest {
 protected:
  static constexpr int64_t kMinute = 60'000;

  // The snapshot that a writer has, who has committed and then been away.
  SnapshotPtr Writer(const std::string& log_retention = "") {
    const auto set = [&](const Snapshot& now) -> Result<Change> {
      Change change{.operation = "SET TBLPROPERTIES", .metadata = *now.metadata};
      if (!log_retention.empty())
        change.metadata->configuration["delta.logRetentionDuration"] = log_retention;
      return change;
    };
    const CommitResult done = CommitChange(storage_, clock_, kTable, Read(), set);
    EXPECT_TRUE(done.status.ok()) << done.status.message();
    return done.snapshot;
  }
  // Others commit `count` versions behind `from`, and clean all but a checkpoint of the last and
  // what the writer knows.
  void CommitAndClean(const SnapshotPtr& from, int64_t count) {
    Grow(count);
    ASSERT_TRUE(WriteCheckpoint(storage_, kTable, *Read(), clock_.NowMs()).ok());
    for (int64_t version = from->version.v + 1; version <= from->version.v + count; ++version)
      ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {version})).ok());
  }
};

TEST_F(CleanedLogTest, WhoWasAwayListsTheLogAndTakesNoFreedNumber) {
  const SnapshotPtr old = Writer();
  CommitAndClean(old, 5);
  clock_.Advance(10 * kMinute);
  const CommitResult added = Add(1000, old);
  ASSERT_TRUE(added.status.ok()) << added.status.message();
  EXPECT_EQ(added.snapshot->version.v, old->version.v + 6);
  EXPECT_EQ(Read()->files.size(), 6u);
  EXPECT_NE(Read()->files.Find("part-1000.parquet"), nullptr);
}

// Ages are elapsed time: our clock may be set to anything.
TEST_F(CleanedLogTest, AWrongClockChangesNothing) {
  for (const int64_t set_by : {-180 * kMinute, 180 * kMinute}) {
    const SnapshotPtr old = Writer();
    CommitAndClean(old, 3);
    clock_.Set(clock_.NowMs() + set_by);
    clock_.Advance(10 * kMinute - 1);
    clock_.Advance(1);
    const CommitResult added = Add(old->version.v + 1000, old);
    ASSERT_TRUE(added.status.ok()) << added.status.message();
    EXPECT_EQ(added.snapshot->version.v, old->version.v + 4);
    // And a step of the clock alone is not an age.
    storage_.lists = 0;
    clock_.Set(clock_.NowMs() - 2 * set_by);
    ASSERT_TRUE(Add(old->version.v + 2000, added.snapshot).status.ok());
    EXPECT_EQ(storage_.lists, 0);
  }
}

TEST_F(CleanedLogTest, AShortLogRetentionShortensTheTime) {
  const SnapshotPtr old = Writer("interval 4 minutes");
  clock_.Advance(2 * kMinute - 1);
  storage_.lists = 0;
  const CommitResult young = Add(1, old);
  ASSERT_TRUE(young.status.ok());
  EXPECT_EQ(storage_.lists, 0);
  CommitAndClean(young.snapshot, 4);
  clock_.Advance(2 * kMinute);
  EXPECT_EQ(Add(1000, young.snapshot).snapshot->version.v, young.snapshot->version.v + 5);
  // What cannot be read is taken for the shortest.
  const SnapshotPtr odd = Writer("a while");
  CommitAndClean(odd, 2);
  EXPECT_EQ(Add(2000, odd).snapshot->version.v, odd->version.v + 3);
}

// The machine sleeps between the look at the log and the put.
TEST_F(CleanedLogTest, ACommitThatTookTooLongIsLookedForAgain) {
  const SnapshotPtr old = Writer();
  bool slept = false;
  const std::string next = CommitPath(kTable, {old->version.v + 1});
  storage_.before_put = [&](std::string_view path) {
    if (path != next || std::exchange(slept, true)) return Status::Ok();
    CommitAndClean(old, 5);
    clock_.Advance(30 * 24 * 60 * kMinute);
    return Status::Ok();
  };
  const CommitResult lost = Add(1000, old);
  storage_.before_put = nullptr;
  EXPECT_EQ(lost.status.code(), StatusCode::kRebuild);
  EXPECT_FALSE(lost.known);
  EXPECT_EQ(Read()->files.Find("part-1000.parquet"), nullptr);
  // If nobody else has committed, it is there after all.
  const SnapshotPtr now = Read();
  slept = false;
  storage_.before_put = [&](std::string_view path) {
    if (path.ends_with(".json")) clock_.Advance(60 * kMinute);
    return Status::Ok();
  };
  const CommitResult late = Add(1001, now);
  EXPECT_TRUE(late.status.ok()) << late.status.message();
  EXPECT_NE(Read()->files.Find("part-1001.parquet"), nullptr);
}

TEST(Intervals, AreThoseOfTableProperties) {
  EXPECT_EQ(ParseInterval("interval 30 days"), 30 * 86'400'000LL);
  EXPECT_EQ(ParseInterval("INTERVAL 1 week 2 hours"), 7 * 86'400'000LL + 7'200'000);
  EXPECT_EQ(ParseInterval("  10  minutes "), 600'000);
  EXPECT_EQ(ParseInterval("1999 microseconds"), 1);
  for (const char* text : {"", "interval", "1", "day", "1 month", "-1 day", "1.5 days",
                           "9999999999999999999 days", "1 day 2"})
    EXPECT_EQ(ParseInterval(text), std::nullopt) << text;
}

TEST_F(LogTest, CleansWhatNobodyNeeds) {
  Grow(30);
  for (const int64_t version : {10, 20, 30})
    ASSERT_TRUE(WriteCheckpoint(storage_, kTable,
                                *ReadSnapshotAt(storage_, kTable, {version}).value(),
                                clock_.NowMs())
                    .ok());
  EXPECT_EQ(CleanLog(storage_, kTable, 3'600'000, SystemClock().NowMs()).value(), 0);
  EXPECT_EQ(CleanLog(storage_, kTable, -1000, SystemClock().NowMs()).value(), 30 + 2);
  EXPECT_EQ(Read()->files.size(), 30u);
  EXPECT_EQ(Add(31, Read()).snapshot->version, Version{31});
}

}  // namespace
}  // namespace sightline::lake
