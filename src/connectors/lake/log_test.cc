// Tests of the log: what is read, what is refused, and what a commit does when it meets another
// one.
#include "connectors/lake/log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "connectors/lake/checkpoint.h"
#include "connectors/lake/commit_json.h"
#include "connectors/lake/committer.h"
#include "connectors/lake/json_text.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/testing.h"

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
  // A multi-part checkpoint is needed only if the commits before it are gone.
  const std::string part =
      LogDirectory(kTable) + "/00000000000000000001.checkpoint.0000000001.0000000002.parquet";
  ASSERT_TRUE(storage_.Put(part, "x", PutMode::kReplace).ok());
  EXPECT_EQ(Read()->version, Version{2});
  for (int64_t version : {0, 1}) ASSERT_TRUE(storage_.Delete(CommitPath(kTable, {version})).ok());
  EXPECT_THAT(ReadError(), HasSubstr("multi-part"));
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
  const SnapshotPtr old = Read();
  ASSERT_TRUE(Add(1, old).status.ok());
  const CommitResult second = Add(2, old);
  ASSERT_TRUE(second.status.ok());
  EXPECT_EQ(second.conflicts, 1);
  EXPECT_EQ(second.snapshot->version, Version{2});
  EXPECT_EQ(Read()->files.size(), 2u);
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
