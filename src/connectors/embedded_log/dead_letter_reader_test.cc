#include "connectors/embedded_log/dead_letter_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <string>
#include <vector>

#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/testing.h"

namespace sightline {
namespace {

using embedded_log_testing::AppendAndWait;
using embedded_log_testing::TemporaryDirectory;
using testing::HasSubstr;

constexpr int64_t kNowMs = 1'763'800'000'000;

class DeadLetterReaderTest : public testing::Test {
 protected:
  DeadLetterReaderTest() { OpenLog({}); }

  // `options` are those that not every test shares.
  void OpenLog(EmbeddedLogOptions options) {
    options.dir = Dir();
    options.partitions = 2;
    options.clock = &time_;
    log_ = nullptr;
    Result<std::unique_ptr<EmbeddedLog>> opened = EmbeddedLog::Open(std::move(options));
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    log_ = std::move(opened).value();
  }
  std::string Dir() const { return directory_.path() + "/data"; }
  // The event at offset `n` of the raw topic.
  DeadLetterRecord Record(int64_t n, size_t bytes = 20) const {
    return {.from = {log_->SourceName("raw_camera_events"), 1},
            .event = {.outcome = n % 2 == 0 ? Outcome::kFuture : Outcome::kTooLate,
                      .offset = {n},
                      .index = static_cast<int32_t>(n % 3),
                      .append_time = {kNowMs + n},
                      .bytes = std::string(bytes, static_cast<char>('a' + n % 26))}};
  }
  // Appends the records [first, next) in one transaction.
  void Append(int64_t first, int64_t next, std::string_view topic = kLateDetectionsTopic,
              size_t bytes = 20) {
    std::vector<std::string> records;
    for (int64_t n = first; n < next; ++n) {
      const DeadLetterRecord record = Record(n, bytes);
      records.push_back(EncodeDeadLetter(record.from, record.event));
    }
    const Status appended = AppendAndWait(*log_, topic, 1, records);
    ASSERT_TRUE(appended.ok()) << appended.message();
  }
  void Sql(const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((Dir() + "/log.db").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database);
    sqlite3_close(database);
  }
  std::unique_ptr<DeadLetterReader> Open() {
    Result<std::unique_ptr<DeadLetterReader>> reader = DeadLetterReader::Open(Dir());
    EXPECT_TRUE(reader.ok()) << reader.status().message();
    return std::move(reader).value();
  }
  std::vector<int64_t> Offsets(const std::vector<DeadLetterReader::Entry>& entries) {
    std::vector<int64_t> offsets;
    for (const auto& entry : entries) {
      offsets.push_back(entry.offset.v);
      // Each test appends record n as the n-th record of its topic.
      EXPECT_EQ(entry.record, Record(entry.offset.v, entry.record.event.bytes.size()));
    }
    return offsets;
  }

  ManualClock clock_{kNowMs};
  LogClock time_{clock_};
  TemporaryDirectory directory_;
  std::unique_ptr<EmbeddedLog> log_;
};

TEST_F(DeadLetterReaderTest, ReadsBesideTheOwner) {
  const auto reader = Open();
  EXPECT_EQ(reader->partitions(), 2);
  EXPECT_THAT(log_->SourceName("x"), HasSubstr(reader->log_id()));
  auto held = reader->Look(kLateDetectionsTopic, 1);
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(held.value().next, Offset{0});  // never appended to
  EXPECT_TRUE(reader->Read(kLateDetectionsTopic, 1, {0}, {10}).value().empty());

  Append(0, 3);
  Append(3, 5);
  held = reader->Look(kLateDetectionsTopic, 1);
  EXPECT_EQ(held.value().oldest, Offset{0});
  EXPECT_EQ(held.value().next, Offset{5});
  EXPECT_EQ(reader->Look(kLateDetectionsTopic, 0).value().next, Offset{0});
  EXPECT_EQ(reader->Look(kDeadLettersTopic, 1).value().next, Offset{0});
  EXPECT_EQ(Offsets(reader->Read(kLateDetectionsTopic, 1, {0}, {5}).value()),
            (std::vector<int64_t>{0, 1, 2, 3, 4}));
  Append(5, 6);  // records that arrive while it is open are visible, too
  EXPECT_EQ(Offsets(reader->Read(kLateDetectionsTopic, 1, {5}, {6}).value()),
            (std::vector<int64_t>{5}));
}

TEST_F(DeadLetterReaderTest, ReadsWhatIsAskedFor) {
  Append(0, 3);
  Append(3, 8);
  const auto reader = Open();
  auto read = [&](int64_t from, int64_t end) {
    return Offsets(reader->Read(kLateDetectionsTopic, 1, {from}, {end}).value());
  };
  EXPECT_EQ(read(1, 2), (std::vector<int64_t>{1}));        // inside a block
  EXPECT_EQ(read(2, 5), (std::vector<int64_t>{2, 3, 4}));  // from two blocks
  EXPECT_EQ(read(7, 100), (std::vector<int64_t>{7}));
  EXPECT_EQ(read(8, 100), std::vector<int64_t>{});
  EXPECT_EQ(read(5, 5), std::vector<int64_t>{});
}

TEST_F(DeadLetterReaderTest, ReadsInPieces) {
  constexpr int64_t kRecords = 100;  // 6 MB
  for (int64_t n = 0; n < kRecords; n += 5) Append(n, n + 5, kDeadLettersTopic, 60'000);
  const auto reader = Open();
  std::vector<int64_t> all;
  int pieces = 0;
  while (static_cast<int64_t>(all.size()) < kRecords) {
    const auto entries =
        reader->Read(kDeadLettersTopic, 1, {static_cast<int64_t>(all.size())}, {kRecords});
    ASSERT_TRUE(entries.ok());
    const std::vector<int64_t> piece = Offsets(entries.value());
    ASSERT_FALSE(piece.empty());
    ASSERT_LT(piece.size(), 40u);
    all.insert(all.end(), piece.begin(), piece.end());
    ++pieces;
  }
  EXPECT_GE(pieces, 4);
  for (int64_t n = 0; n < kRecords; ++n) ASSERT_EQ(all[static_cast<size_t>(n)], n);
}

TEST_F(DeadLetterReaderTest, ReadsWithoutAnOwner) {
  Append(0, 4);
  const std::string source = log_->SourceName("x");
  const DeadLetterRecord last = Record(3);
  log_->Close();
  log_ = nullptr;
  const auto reader = Open();
  EXPECT_THAT(source, HasSubstr(reader->log_id()));
  const auto entries = reader->Read(kLateDetectionsTopic, 1, {3}, {4});
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries.value().size(), 1u);
  EXPECT_EQ(entries.value()[0].record, last);
}

TEST_F(DeadLetterReaderTest, WhatRetentionHasRemovedIsNotThere) {
  OpenLog({.retention_age = {10'000}});
  Append(0, 2);
  clock_.Advance(20'000);
  Append(2, 4);
  ASSERT_TRUE(log_->EnforceRetention().ok());
  const auto reader = Open();
  const auto held = reader->Look(kLateDetectionsTopic, 1);
  EXPECT_EQ(held.value().oldest, Offset{2});
  EXPECT_EQ(held.value().next, Offset{4});
  EXPECT_TRUE(reader->Read(kLateDetectionsTopic, 1, {0}, {4}).value().empty());
  EXPECT_EQ(reader->Read(kLateDetectionsTopic, 1, {2}, {4}).value().size(), 2u);
}

TEST_F(DeadLetterReaderTest, SaysWhatItCannotRead) {
  const Result<std::unique_ptr<DeadLetterReader>> nothing = DeadLetterReader::Open("/nowhere");
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.status().code(), StatusCode::kStop);
  EXPECT_THAT(nothing.status().message(), HasSubstr("there is no log in '/nowhere'"));

  ASSERT_TRUE(AppendAndWait(*log_, kLateDetectionsTopic, 0, {"no such record"}).ok());
  const auto entries = Open()->Read(kLateDetectionsTopic, 0, {0}, {1});
  ASSERT_FALSE(entries.ok());
  EXPECT_EQ(entries.status().code(), StatusCode::kStop);
  EXPECT_THAT(entries.status().message(),
              HasSubstr("topic 'late_detections' partition 0 offset 0"));

  log_->Close();
  log_ = nullptr;
  Sql("PRAGMA user_version = 99");
  EXPECT_THAT(DeadLetterReader::Open(Dir()).status().message(), HasSubstr("has data format 99"));
  std::ofstream(Dir() + "/log.db", std::ios::trunc) << std::string(8'192, 'x');
  EXPECT_FALSE(DeadLetterReader::Open(Dir()).ok());
}

}  // namespace
}  // namespace sightline
