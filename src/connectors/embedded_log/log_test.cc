#include "connectors/embedded_log/log.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "connectors/embedded_log/testing.h"

namespace sightline {
namespace {

using embedded_log_testing::AppendAndWait;
using embedded_log_testing::Pack;
using embedded_log_testing::ReadAll;
using embedded_log_testing::Stall;
using embedded_log_testing::TemporaryDirectory;
using testing::HasSubstr;

constexpr int64_t kStartMs = 1'763'800'000'000;

class EmbeddedLogTest : public testing::Test {
 protected:
  EmbeddedLogOptions Options() {
    return {.dir = directory_.path() + "/data", .partitions = 2, .clock = &time_};
  }
  void Open(EmbeddedLogOptions options) {
    log_ = nullptr;
    Result<std::unique_ptr<EmbeddedLog>> opened = EmbeddedLog::Open(std::move(options));
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    log_ = std::move(opened).value();
  }
  void Open() { Open(Options()); }
  Status OpenError(EmbeddedLogOptions options) {
    return EmbeddedLog::Open(std::move(options)).status();
  }
  std::string path() { return Options().dir + "/log.db"; }
  // Uses a connection of its own, like another program.
  void Sql(const std::string& sql) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path().c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(database);
    sqlite3_close(database);
  }
  std::vector<std::string> Payloads(int32_t partition, int64_t records_max = 100) {
    const auto source = log_->OpenSource("raw", partition);
    auto records = ReadAll(*source, source->Earliest().value(), records_max);
    EXPECT_TRUE(records.ok()) << records.status().message();
    std::vector<std::string> payloads;
    for (const auto& record : records.value()) payloads.push_back(record.payload);
    return payloads;
  }

  TemporaryDirectory directory_;
  ManualClock clock_{kStartMs};
  LogClock time_{clock_};
  std::unique_ptr<EmbeddedLog> log_;
};

TEST_F(EmbeddedLogTest, KeepsItsIdentityAndRecords) {
  Open();
  const std::string id = log_->id();
  EXPECT_EQ(id.size(), 16u);
  EXPECT_EQ(log_->SourceName("raw"), "embedded:" + id + "/raw");
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 1, {"a", "", "b"}).ok());
  Open();
  EXPECT_EQ(log_->id(), id);
  EXPECT_EQ(Payloads(1), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_TRUE(Payloads(0).empty());
}

TEST_F(EmbeddedLogTest, LeavesOneFileWhenClosed) {
  EmbeddedLogOptions options = Options();
  options.tail_bytes_max = 0;  // so that readers read from the file
  Open(options);
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"a"}).ok());
  EXPECT_EQ(Payloads(0).size(), 1u);
  EXPECT_TRUE(std::filesystem::exists(path() + "-wal"));
  log_ = nullptr;
  EXPECT_FALSE(std::filesystem::exists(path() + "-wal"));
}

TEST_F(EmbeddedLogTest, HasOneOwner) {
  Open();
  const Status refused = OpenError(Options());
  EXPECT_EQ(refused.code(), StatusCode::kStop);
  EXPECT_THAT(refused.message(), HasSubstr(Options().dir));
  EXPECT_THAT(refused.message(), HasSubstr(fmt::format("process {}", getpid())));
  log_ = nullptr;
  Open();
}

TEST_F(EmbeddedLogTest, RefusesAnotherFormatAndSaysSo) {
  Open();
  log_ = nullptr;
  Sql("PRAGMA user_version=7");
  const Status refused = OpenError(Options());
  EXPECT_EQ(refused.code(), StatusCode::kStop);
  EXPECT_THAT(refused.message(), HasSubstr("format 7"));
}

TEST_F(EmbeddedLogTest, LeavesAnotherProgramsFileAlone) {
  Open();
  log_ = nullptr;
  std::filesystem::remove(path());
  Sql("CREATE TABLE theirs(x)");
  const auto size = std::filesystem::file_size(path());
  const Status refused = OpenError(Options());
  EXPECT_EQ(refused.code(), StatusCode::kStop);
  EXPECT_THAT(refused.message(), HasSubstr("not an embedded log"));
  EXPECT_EQ(std::filesystem::file_size(path()), size);
}

TEST_F(EmbeddedLogTest, RefusesAnotherNumberOfPartitions) {
  Open();
  log_ = nullptr;
  EmbeddedLogOptions options = Options();
  options.partitions = 3;
  const Status refused = OpenError(options);
  EXPECT_EQ(refused.code(), StatusCode::kStop);
  EXPECT_THAT(refused.message(), HasSubstr("2 partitions"));
  EXPECT_THAT(refused.message(), HasSubstr("hand over"));
}

TEST_F(EmbeddedLogTest, AppendTimeNeverGoesBack) {
  Open();
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"a"}).ok());
  clock_.Advance(-5000);
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"b"}).ok());
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 1, {"c"}).ok());
  // Even if retention has removed every record with that time.
  clock_.Advance(1);
  Open([this] {
    EmbeddedLogOptions options = Options();
    options.retention_bytes = 0;
    return options;
  }());
  ASSERT_TRUE(log_->EnforceRetention().ok());
  ASSERT_TRUE(Payloads(0).empty());
  Open();
  EXPECT_EQ(log_->EndOf("raw", 0).next, Offset{2});
  EXPECT_EQ(log_->EndOf("raw", 0).newest, AppendTime{kStartMs});
  EXPECT_EQ(log_->EndOf("new", 0).next, Offset{0});
  EXPECT_EQ(log_->EndOf("new", 0).newest, kNoAppendTime);
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"d"}).ok());
  const auto source = log_->OpenSource("raw", 0);
  const auto records = ReadAll(*source, {2});
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records.value().size(), 1u);
  EXPECT_EQ(records.value()[0].append_time, AppendTime{kStartMs});
}

TEST_F(EmbeddedLogTest, CommitsWhatIsQueuedTogether) {
  Open();
  Stall stall(*log_);
  const int64_t commits = log_->stats().commits;
  const int64_t batches = log_->stats().batches;
  std::atomic<int> acknowledged = 0;
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(log_->Append("raw", {Pack(0, {fmt::format("{}", i)}), Pack(1, {"x"})},
                             [&acknowledged](const Status& s) { acknowledged += s.ok(); }));
  EXPECT_GT(log_->stats().queue_bytes, 0);
  EXPECT_EQ(acknowledged, 0);
  stall.Release();
  log_->Close();
  EXPECT_EQ(acknowledged, 100);
  EXPECT_EQ(log_->stats().commits - commits, 1);
  EXPECT_EQ(log_->stats().batches - batches, 2);
  EXPECT_EQ(log_->stats().queue_bytes, 0);
  const std::vector<std::string> payloads = Payloads(0);
  ASSERT_EQ(payloads.size(), 100u);
  EXPECT_EQ(payloads[42], "42");
}

TEST_F(EmbeddedLogTest, RefusesWhenTheQueueIsFull) {
  EmbeddedLogOptions options = Options();
  options.queue_bytes_max = 1000;
  Open(options);
  Stall stall(*log_);
  std::atomic<int> answers = 0;
  const auto append = [&](size_t size) {
    return log_->Append("raw", {Pack(0, {std::string(size, 'x')})},
                        [&answers](const Status& s) { answers += s.ok(); });
  };
  EXPECT_TRUE(append(900));
  EXPECT_FALSE(append(200));
  EXPECT_TRUE(append(50));
  stall.Release();
  while (log_->stats().queue_bytes > 0) std::this_thread::yield();
  EXPECT_TRUE(append(5000)) << "larger than the queue, but alone";
  log_->Close();
  EXPECT_FALSE(append(1)) << "closed";
  EXPECT_EQ(answers, 3);
  EXPECT_EQ(log_->stats().appends_refused, 2);
}

TEST_F(EmbeddedLogTest, CutsLongAppendsIntoBoundedRows) {
  EmbeddedLogOptions options = Options();
  options.row_bytes_max = 1000;
  Open(options);
  std::vector<std::string> records;
  for (int i = 0; i < 100; ++i) records.push_back(fmt::format("{:0100}", i));
  records[50] = std::string(5000, 'y');  // a record that is larger than a row gets a row of its own
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, records).ok());
  EXPECT_EQ(log_->stats().batches, 1 + 2 * 6);  // 9 records a row
  EXPECT_EQ(Payloads(0), records);
}

TEST_F(EmbeddedLogTest, ReadsTheSameFromMemoryAndFromTheFile) {
  EmbeddedLogOptions options = Options();
  options.tail_bytes_max = 0;
  options.row_bytes_max = 300;
  Open(options);
  std::vector<std::string> records;
  for (int i = 0; i < 500; ++i) records.push_back(std::string(static_cast<size_t>(i % 40), 'a'));
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, records).ok());
  EXPECT_EQ(log_->stats().tail_bytes, 0);
  for (const int64_t records_max : {1, 7, 1000}) EXPECT_EQ(Payloads(0, records_max), records);
  options.tail_bytes_max = 1 << 20;
  Open(options);
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, records).ok());
  EXPECT_GT(log_->stats().tail_bytes, 0);
  std::vector<std::string> twice = records;
  twice.insert(twice.end(), records.begin(), records.end());
  for (const int64_t records_max : {1, 7, 1000}) EXPECT_EQ(Payloads(0, records_max), twice);
}

TEST_F(EmbeddedLogTest, SharesTheStorageOfALargeBatch) {
  Open();
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, std::vector<std::string>(1000, "x")).ok());
  const auto source = log_->OpenSource("raw", 0);
  ASSERT_TRUE(source->Seek({0}).ok());
  const Batch first = source->Poll(10).value();
  const Batch second = source->Poll(10).value();
  EXPECT_EQ(first.storage, second.storage);
  EXPECT_EQ(second.records[0].payload.data(), first.records[9].payload.data() + 2);
}

TEST_F(EmbeddedLogTest, RemovesOldBatches) {
  EmbeddedLogOptions options = Options();
  options.retention_age = {10'000};
  Open(options);
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"a", "b"}).ok());
  clock_.Advance(6000);
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"c"}).ok());
  clock_.Advance(6000);
  ASSERT_TRUE(log_->EnforceRetention().ok());
  EXPECT_EQ(Payloads(0).size(), 3u) << "nothing is older than the newest record by 10 s";
  ASSERT_TRUE(AppendAndWait(*log_, "other", 0, {"x"}).ok());
  const auto reader = log_->OpenSource("raw", 0);
  ASSERT_TRUE(reader->Seek({0}).ok());
  ASSERT_TRUE(log_->EnforceRetention().ok());
  EXPECT_EQ(Payloads(0), std::vector<std::string>{"c"});
  EXPECT_EQ(log_->stats().retention_batches, 1);

  const Status behind = reader->Poll(1).status();  // the record was there when the source sought it
  EXPECT_EQ(behind.code(), StatusCode::kStop);
  EXPECT_THAT(behind.message(), HasSubstr("retention has removed the records [0, 2)"));
  EXPECT_EQ(reader->Seek({1}).code(), StatusCode::kStop);
  EXPECT_TRUE(reader->Seek({2}).ok());

  clock_.Advance(60'000);
  ASSERT_TRUE(AppendAndWait(*log_, "other", 0, {"y"}).ok());
  ASSERT_TRUE(log_->EnforceRetention().ok());
  Open(options);
  EXPECT_EQ(log_->OpenSource("raw", 0)->Earliest().value(), Offset{3});
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"d"}).ok());
  EXPECT_EQ(log_->OpenSource("raw", 0)->Earliest().value(), Offset{3});
}

// What an operator has seen: the clock 400 days ahead for one append, and 8 days for two seconds.
TEST_F(EmbeddedLogTest, AWrongClockStampsNothingAndRemovesNothing) {
  constexpr int64_t kDay = 86'400'000;
  clock_.SetSynchronised(false);
  EmbeddedLogOptions options = Options();
  options.retention_age = {7 * kDay};
  Open(options);
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"a"}).ok());
  for (const int64_t step : {400 * kDay, 8 * kDay, -8 * kDay}) {
    const int64_t right = clock_.NowMs();
    clock_.Set(right + step);
    ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"b"}).ok());
    EXPECT_EQ(log_->EndOf("raw", 0).newest, AppendTime{right});
    ASSERT_TRUE(log_->EnforceRetention().ok());
    clock_.Advance(2'000);
    ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"c"}).ok());
    Open(options);  // also over a restart
    ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"d"}).ok());
    EXPECT_EQ(log_->EndOf("raw", 0).newest, AppendTime{right + 2'000});
    clock_.Set(right + 2'000);
    ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"e"}).ok());
    EXPECT_EQ(log_->EndOf("raw", 0).newest, AppendTime{right + 2'000});
    ASSERT_TRUE(log_->EnforceRetention().ok());
  }
  EXPECT_EQ(Payloads(0).size(), 1u + 3u * 4u);
}

TEST_F(EmbeddedLogTest, RefusesRecordsWhileTheTimeIsUnknown) {
  constexpr int64_t kDay = 86'400'000;
  clock_.SetSynchronised(false);
  Open(Options());
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"a"}).ok());
  log_ = nullptr;
  clock_.Reboot();
  clock_.Set(kStartMs + 8 * kDay);
  LogClock time(clock_);
  EmbeddedLogOptions options = Options();
  options.clock = &time;
  Open(options);
  const Status refused = AppendAndWait(*log_, "raw", 0, {"b"});
  EXPECT_EQ(refused.code(), StatusCode::kRetry);
  EXPECT_THAT(refused.message(), HasSubstr("8 d ahead of the log's time"));
  time.Accept();
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"c"}).ok());
  EXPECT_EQ(log_->EndOf("raw", 0).newest, AppendTime{kStartMs + 8 * kDay});
  EXPECT_EQ(Payloads(0), (std::vector<std::string>{"a", "c"}));
  log_ = nullptr;
}

TEST_F(EmbeddedLogTest, RemovesWhatIsBeyondItsSizeInTheOrderOfAppending) {
  EmbeddedLogOptions options = Options();
  options.retention_bytes = 2500;
  Open(options);
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(AppendAndWait(*log_, "raw", i % 2, {std::string(1000, 'x')}).ok());
  ASSERT_TRUE(log_->EnforceRetention().ok());
  const EmbeddedLogStats stats = log_->stats();
  EXPECT_LE(stats.stored_bytes, 2500);
  for (const auto& partition : stats.partitions) {
    if (partition.topic != "raw") continue;
    EXPECT_EQ(partition.next.v - partition.oldest.v, 1) << partition.partition;
  }
}

TEST_F(EmbeddedLogTest, WakesWhoWatchesTheTopic) {
  Open();
  std::atomic<int> calls = 0, last = -1;
  auto watch = log_->OnAppend("raw", [&](int32_t partition) {
    ++calls;
    last = partition;
  });
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 1, {"a"}).ok());
  EXPECT_EQ(calls, 1) << "called before the append is answered";
  EXPECT_EQ(last, 1);
  ASSERT_TRUE(AppendAndWait(*log_, "other", 1, {"a"}).ok());
  watch = nullptr;
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 1, {"a"}).ok());
  EXPECT_EQ(calls, 1);
}

TEST_F(EmbeddedLogTest, SaysWhenABatchIsDamaged) {
  Open();
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"good"}).ok());
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {std::string(1000, 'x'), "b"}).ok());
  log_ = nullptr;
  Sql("UPDATE batches SET data = replace(CAST(data AS TEXT), 'xxx', 'xyx') WHERE first = 1");
  Open();
  const auto source = log_->OpenSource("raw", 0);
  ASSERT_TRUE(source->Seek({1}).ok());
  const Status damaged = source->Poll(10).status();
  EXPECT_EQ(damaged.code(), StatusCode::kStop);
  EXPECT_THAT(damaged.message(), HasSubstr("[1, 3) of topic 'raw' partition 0"));
  EXPECT_THAT(damaged.message(), HasSubstr("'batches' of 'log.db'"));
  EXPECT_THAT(damaged.message(), HasSubstr("restore"));
}

TEST_F(EmbeddedLogTest, SaysWhenABatchIsMissing) {
  Open();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"a"}).ok());
  log_ = nullptr;
  Sql("DELETE FROM batches WHERE first = 1");
  Open();
  const auto source = log_->OpenSource("raw", 0);
  const Status gap = ReadAll(*source, {0}).status();
  EXPECT_EQ(gap.code(), StatusCode::kStop);
  EXPECT_THAT(gap.message(), HasSubstr("[1, 2)"));
  log_ = nullptr;
  Sql("DELETE FROM batches WHERE first = 2");
  const Status end = OpenError(Options());
  EXPECT_EQ(end.code(), StatusCode::kStop);
  EXPECT_THAT(end.message(), HasSubstr("[0, 3) of topic 'raw' partition 0"));
}

// Damages any byte of the file. Either the damage is reported, or the byte is not in use; nothing
// is ever read wrongly.
TEST_F(EmbeddedLogTest, NeverReadsADamagedPageWrongly) {
  Open();
  std::vector<std::string> records;
  for (int i = 0; i < 60; ++i) {
    records.push_back(fmt::format("{:0900}", i));
    ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {records.back()}).ok());
  }
  log_ = nullptr;
  const std::string good = path() + ".good";
  std::filesystem::copy_file(path(), good);
  const auto size = static_cast<int64_t>(std::filesystem::file_size(good));
  int said = 0;
  for (int64_t at = 0; at < size; at += 3001) {
    std::filesystem::copy_file(good, path(), std::filesystem::copy_options::overwrite_existing);
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.write("\xaa\x55\xaa\x55\xaa\x55\xaa\x55", 8);
    file.close();
    Result<std::unique_ptr<EmbeddedLog>> opened = EmbeddedLog::Open(Options());
    if (!opened.ok()) {
      ++said;
      EXPECT_EQ(opened.status().code(), StatusCode::kStop) << opened.status().message();
      continue;
    }
    const auto source = opened.value()->OpenSource("raw", 0);
    if (!source->Seek({0}).ok()) {
      ++said;
      continue;
    }
    for (Offset next{0}; next.v < 60;) {
      Result<Batch> batch = source->Poll(100);
      if (!batch.ok()) {
        ++said;
        EXPECT_EQ(batch.status().code(), StatusCode::kStop) << batch.status().message();
        break;
      }
      ASSERT_LT(batch.value().first, batch.value().next) << "records are lost in silence";
      for (const Record& record : batch.value().records)
        ASSERT_EQ(record.payload, records[static_cast<size_t>(record.offset.v)]) << at;
      next = batch.value().next;
    }
  }
  EXPECT_GT(said, 10);
}

TEST_F(EmbeddedLogTest, CountsWhatItDoes) {
  Open();
  ASSERT_TRUE(AppendAndWait(*log_, "raw", 0, {"abc", "de"}).ok());
  const EmbeddedLogStats stats = log_->stats();
  EXPECT_EQ(stats.appended_records, 2);
  EXPECT_EQ(stats.appended_bytes, 7);
  EXPECT_EQ(stats.batches, 1);
  EXPECT_EQ(stats.commits, 1);
  EXPECT_EQ(stats.stored_bytes, 7);
  EXPECT_GT(stats.commit_seconds, 0);
  ASSERT_EQ(stats.partitions.size(), 2u);
  EXPECT_EQ(stats.partitions[0].next, Offset{2});
  EXPECT_TRUE(log_->Health().ok());
}

}  // namespace
}  // namespace sightline
