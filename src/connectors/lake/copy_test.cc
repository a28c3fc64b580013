// Tests of a lake that moves: what arrives, what an interruption leaves, and who may write where.
#include "connectors/lake/copy.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "connectors/lake/data_file.h"
#include "connectors/lake/known_tables.h"
#include "connectors/lake/locations_table.h"
#include "connectors/lake/log_names.h"
#include "connectors/lake/maintenance.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/testing_lake.h"
#include "connectors/lake/writable.h"

namespace sightline::lake {
namespace {

using lake_testing::TestStorage;
using testing::AllOf;
using testing::HasSubstr;

class CopyTest : public testing::Test, protected TestLake {
 protected:
  Result<std::vector<CopiedTable>> Copy() {
    return CopyLake(storage_, target_, clock_, {.from = "/from", .to = "hdfs://to/lake"});
  }
  void FillAll() {
    Fill({Make(0, 100, 1), Make(100, 200, 1), Make(200, 300)});
    ASSERT_TRUE(WriteLocations(storage_, clock_, {{.location = {1}, .name = "one"}}).ok());
  }
  static bool IsThere(Storage& storage, std::string_view table) {
    return ReadSnapshot(storage, table).value()->version != kNoVersion;
  }
  bool IsMoved(std::string_view table) {
    return !ReadSnapshot(storage_, table).value()->Property(kMovedToProperty).empty();
  }
  void ExpectMoved(int64_t sum) {
    EXPECT_EQ(SumOf(target_), sum);
    EXPECT_EQ(DamageOf(target_), "");
    const VerifyReport report = Verify(target_, nullptr).value();
    for (const Finding& note : report.notes) ADD_FAILURE() << note.object << " " << note.what;
    EXPECT_FALSE(target_.Stat("sightline-copy.json").value().has_value());
    for (const std::string_view table : {kIncrementsTable, kLedgerTable}) {
      const SnapshotPtr from = ReadSnapshot(storage_, table).value();
      const SnapshotPtr to = ReadSnapshot(target_, table).value();
      EXPECT_EQ(to->version, Version{0});
      EXPECT_EQ(to->txns, from->txns);
      EXPECT_NE(to->metadata->id, from->metadata->id);
      EXPECT_EQ(to->Property(kMovedFromProperty), from->metadata->id);
      EXPECT_THAT(
          LakeWriter::Open(storage_, clock_, {.table = std::string(table)}).status().message(),
          AllOf(HasSubstr("hdfs://to/lake"), HasSubstr("lake.dir")));
    }
  }

  TestStorage target_;
};

TEST_F(CopyTest, MovesTheNewestVersionAndWhoWritesIt) {
  FillAll();
  const std::vector<CopiedTable> copied = Copy().value();
  ASSERT_EQ(copied.size(), 3u);
  EXPECT_EQ(copied[0].files, 6);
  EXPECT_EQ(copied[0].copied, 6);
  EXPECT_GT(copied[0].bytes, 1000);
  ExpectMoved(300);
  EXPECT_EQ(ReadLocationsTable(target_).value(), ReadLocationsTable(storage_).value());
  // The pipeline goes on at the new place, with the offsets that it had.
  for (const std::string_view table : {kIncrementsTable, kLedgerTable}) {
    const auto writer =
        LakeWriter::Open(target_, clock_, {.table = std::string(table), .linger = {0}}).value();
    const auto sink = Owner(*writer, Partition(0), 2);
    EXPECT_EQ(sink->Committed(Partition(0)).value(), Offset{300});
    ASSERT_TRUE(Commit(*sink, {Make(300, 400)}).ok());
  }
  EXPECT_EQ(SumOf(target_), 400);
  EXPECT_EQ(DamageOf(target_), "");
  EXPECT_EQ(Sum(), 300);  // the old place may still be read
  EXPECT_FALSE(WriteLocations(storage_, clock_, {}).ok());
  EXPECT_THAT(Copy().status().message(), HasSubstr("is not empty"));
}

TEST_F(CopyTest, APipelineKnowsTheTableAgain) {
  FillAll();
  TestStorage folder;
  const auto known = KnownTables::Open({.path = folder.root() / "lake.json", .lake = "x"}).value();
  const auto old = ReadSnapshot(storage_, kLedgerTable).value();
  ASSERT_TRUE(known->Add(kLedgerTable, *old).ok());
  ASSERT_TRUE(Copy().ok());
  const auto moved = ReadSnapshot(target_, kLedgerTable).value();
  EXPECT_TRUE(known->Check(kLedgerTable, *moved).ok());
  ASSERT_TRUE(known->Add(kLedgerTable, *moved).ok());
  EXPECT_FALSE(known->Check(kLedgerTable, *old).ok());
}

// At every put, here and there: no moment has two places that take writes, and the next call ends
// it.
TEST_F(CopyTest, AnInterruptionAnywhereLosesNothing) {
  bool interrupted = true;
  int point = 0;
  for (; interrupted; ++point) {
    storage_.Clear();
    target_.Clear();
    FillAll();
    interrupted = false;
    std::atomic<int> puts = 0;
    const auto fail = [&](std::string_view) {
      if (puts++ != point) return Status::Ok();
      interrupted = true;
      return point % 2 == 0 ? Status::Retry("away") : Status::Rebuild("no answer");
    };
    storage_.before_put = target_.before_put = fail;
    const auto first = Copy();
    storage_.before_put = target_.before_put = nullptr;
    for (const std::string_view table : {kIncrementsTable, kLedgerTable, kLocationsTable})
      EXPECT_TRUE(IsMoved(table) || !IsThere(target_, table)) << point << table;
    if (!first.ok()) {
      const auto second = Copy();
      ASSERT_TRUE(second.ok()) << point << second.status().message();
    }
    ExpectMoved(300);
  }
  EXPECT_GT(point, 3 + 6 + 3 + 1);
}

TEST_F(CopyTest, WhatWritersCommitMeanwhileIsCopiedToo) {
  FillAll();
  const auto writer = Open();
  const auto sink = Owner(*writer, Partition(0), 2);
  std::atomic<int> puts = 0;
  target_.before_put = [&](std::string_view path) {
    if (!path.ends_with(".parquet") || puts++ != 2) return Status::Ok();
    EXPECT_TRUE(Commit(*sink, {Make(300, 350)}).ok());
    EXPECT_TRUE(Compact(storage_, clock_, kIncrementsTable, {}).ok());
    return Status::Ok();
  };
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(SumOf(target_), 350);
  EXPECT_THAT(Commit(*sink, {Make(350, 360)}).status().message(), HasSubstr("hdfs://to/lake"));
  EXPECT_EQ(target_.DataFiles(kIncrementsTable), storage_.DataFiles(kIncrementsTable) - 4);
}

TEST_F(CopyTest, GoesNowhereElse) {
  FillAll();
  const auto to = [&](const char* from, const char* place) {
    return CopyLake(storage_, target_, clock_, {.from = from, .to = place}).status().message();
  };
  EXPECT_THAT(to("/lake", "/lake/copy"), HasSubstr("lie one in the other"));
  EXPECT_THAT(to("/lake/old", "/lake"), HasSubstr("lie one in the other"));
  EXPECT_THAT(to("/lake", "/lake"), HasSubstr("lie one in the other"));
  ASSERT_TRUE(target_.Put("ledger/notes.txt", "x", PutMode::kReplace).ok());
  EXPECT_THAT(Copy().status().message(),
              AllOf(HasSubstr("is not empty"), HasSubstr("ledger/notes.txt")));
  target_.Clear();
  ASSERT_TRUE(target_.Put("sightline-copy.json", "{}", PutMode::kReplace).ok());
  EXPECT_THAT(Copy().status().message(), HasSubstr("another lake"));
  target_.Clear();
  EXPECT_FALSE(IsMoved(kIncrementsTable));
  ASSERT_TRUE(Copy().ok());
  TestStorage elsewhere;
  EXPECT_THAT(CopyLake(storage_, elsewhere, clock_, {.from = "/from", .to = "/elsewhere"})
                  .status()
                  .message(),
              HasSubstr("was moved to 'hdfs://to/lake'"));
}

TEST_F(CopyTest, DamageIsNotCopied) {
  FillAll();
  const std::string path = [&] {
    std::string first;
    ReadSnapshot(storage_, kIncrementsTable).value()->files.ForEach([&](const FilePtr& file) {
      if (first.empty()) first = fmt::format("{}/{}", kIncrementsTable, file->path);
    });
    return first;
  }();
  const std::string good = *storage_.ReadWhole(path).value();
  std::string bad = good;
  bad[bad.size() / 2] ^= 1;
  for (const std::string& bytes : {bad, good.substr(1)}) {
    ASSERT_TRUE(storage_.Put(path, bytes, PutMode::kReplace).ok());
    const auto copied = Copy();
    EXPECT_EQ(copied.status().code(), StatusCode::kStop);
    EXPECT_THAT(copied.status().message(), AllOf(HasSubstr(path), HasSubstr("is damaged")));
    EXPECT_FALSE(IsMoved(kIncrementsTable));
  }
  ASSERT_TRUE(storage_.Put(path, good, PutMode::kReplace).ok());
  // What an earlier call has left in the target is not believed.
  ASSERT_TRUE(target_.Put(path, bad, PutMode::kReplace).ok());
  ASSERT_TRUE(Copy().ok());
  ExpectMoved(300);
}

}  // namespace
}  // namespace sightline::lake
