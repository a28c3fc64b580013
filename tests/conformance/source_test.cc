// What engine/source.h promises.
#include "engine/source.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "harness.h"

namespace sightline::conformance {
namespace {

class SourceTest : public testing::TestWithParam<Implementation<SourceHarness>> {
 protected:
  static Status Seek(Source& source, Offset next) {
    return Ask([&] { return source.Seek(next); });
  }
  static Offset Earliest(Source& source) {
    return Ask([&] { return source.Earliest(); }).value();
  }
  // The first answer that has records, or that is not "not yet". A source may need a while even for
  // what is durable already.
  static Result<Batch> PollSome(Source& source, int64_t records_max) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (true) {
      Result<Batch> polled = Ask([&] { return source.Poll(records_max); });
      if (!polled.ok() || !polled.value().records.empty() ||
          std::chrono::steady_clock::now() > deadline)
        return polled;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  // Reads `count` records, polls once more, and checks what every answer must satisfy.
  std::vector<std::string> ReadToEnd(Source& source, Offset from, int64_t records_max,
                                     size_t count) {
    std::vector<std::string> payloads;
    const Status sought = Seek(source, from);
    EXPECT_TRUE(sought.ok()) << sought.message();
    for (Offset next = from; sought.ok();) {
      const bool all = payloads.size() >= count;
      const Result<Batch> polled =
          all ? Ask([&] { return source.Poll(records_max); }) : PollSome(source, records_max);
      if (!polled.ok()) {
        ADD_FAILURE() << polled.status().message();
        break;
      }
      const Batch& batch = polled.value();
      EXPECT_EQ(batch.first, next);
      EXPECT_TRUE(batch.first != batch.next || batch.records.empty());
      if (all && batch.records.empty()) break;
      if (batch.records.empty()) {
        ADD_FAILURE() << payloads.size() << " of " << count << " records";
        break;
      }
      EXPECT_LE(static_cast<int64_t>(batch.records.size()), records_max);
      for (const Record& record : batch.records) {
        EXPECT_GE(record.offset, next);
        EXPECT_LT(record.offset, batch.next);
        EXPECT_GE(record.append_time, newest_);
        newest_ = record.append_time;
        next = {record.offset.v + 1};
        payloads.emplace_back(record.payload);
        // The padding behind the payload must be readable.
        for (size_t i = 0; i < 64; ++i) padding_ = record.payload.data()[record.payload.size() + i];
      }
      EXPECT_LE(next, batch.next);
      next = batch.next;
    }
    return payloads;
  }
  static std::vector<std::string> Numbered(int64_t first, int64_t next) {
    std::vector<std::string> payloads;
    for (int64_t n = first; n < next; ++n) payloads.push_back(fmt::format("record {}", n));
    return payloads;
  }

  std::unique_ptr<SourceHarness> log_ = GetParam().make();
  AppendTime newest_ = kNoAppendTime;
  volatile char padding_ = 0;
};

TEST_P(SourceTest, AnEmptyPartitionHasNothingToRead) {
  const auto source = log_->Open(0);
  EXPECT_EQ(Earliest(*source), Offset{0});
  ASSERT_TRUE(Seek(*source, {0}).ok());
  for (int i = 0; i < 2; ++i) {
    const Result<Batch> batch = source->Poll(10);
    ASSERT_TRUE(batch.ok());
    EXPECT_EQ(batch.value().first, Offset{0});
    EXPECT_EQ(batch.value().next, Offset{0});
  }
}

TEST_P(SourceTest, GivesEveryRecordOnceAndInOrderHoweverItIsPolled) {
  for (int64_t n = 0, size = 1; n < 300; n += size, size = size % 17 + 5)
    log_->Append(0, Numbered(n, std::min<int64_t>(n + size, 300)));
  const auto source = log_->Open(0);
  for (const int64_t records_max : {1, 2, 3, 10, 299, 300, 100'000}) {
    newest_ = kNoAppendTime;
    EXPECT_EQ(ReadToEnd(*source, {0}, records_max, 300), Numbered(0, 300)) << records_max;
  }
}

TEST_P(SourceTest, PartitionsAreApart) {
  log_->Append(0, {"a"});
  log_->Append(1, {"b", "c"});
  EXPECT_EQ(ReadToEnd(*log_->Open(0), {0}, 10, 1), std::vector<std::string>{"a"});
  newest_ = kNoAppendTime;
  EXPECT_EQ(ReadToEnd(*log_->Open(1), {0}, 10, 2), (std::vector<std::string>{"b", "c"}));
}

TEST_P(SourceTest, SeeksIntoTheMiddleOfABatch) {
  log_->Append(0, Numbered(0, 50));
  log_->Append(0, Numbered(50, 100));
  const auto source = log_->Open(0);
  for (const int64_t from : {99, 50, 49, 1, 0, 100}) {
    newest_ = kNoAppendTime;
    EXPECT_EQ(ReadToEnd(*source, {from}, 7, static_cast<size_t>(100 - from)), Numbered(from, 100))
        << from;
  }
}

TEST_P(SourceTest, StopsWhereThereIsNothingToSeek) {
  log_->Append(0, Numbered(0, 10));
  const auto source = log_->Open(0);
  EXPECT_TRUE(Seek(*source, {10}).ok());
  EXPECT_EQ(Seek(*source, {11}).code(), StatusCode::kStop);
}

TEST_P(SourceTest, SeesWhatIsAppendedAfterItsEnd) {
  const auto source = log_->Open(0);
  ASSERT_TRUE(Seek(*source, {0}).ok());
  for (int64_t n = 0; n < 20; ++n) {
    log_->Append(0, Numbered(n, n + 1));
    const Result<Batch> batch = PollSome(*source, 10);
    ASSERT_TRUE(batch.ok());
    ASSERT_EQ(batch.value().records.size(), 1u);
    EXPECT_EQ(batch.value().records[0].payload, fmt::format("record {}", n));
    EXPECT_EQ(source->Poll(10).value().next, Offset{n + 1});
  }
}

TEST_P(SourceTest, ABatchOutlivesItsSourceAndRetention) {
  log_->Append(0, Numbered(0, 100));
  auto source = log_->Open(0);
  ASSERT_TRUE(Seek(*source, {0}).ok());
  const Batch batch = PollSome(*source, 100).value();
  source = nullptr;
  log_->SetClock(3000);
  log_->Retain({2000});
  log_->Append(0, Numbered(100, 200));
  std::vector<std::string> payloads;
  for (const Record& record : batch.records) payloads.emplace_back(record.payload);
  EXPECT_EQ(payloads, Numbered(0, static_cast<int64_t>(batch.records.size())));
}

TEST_P(SourceTest, RetentionIsNeverPassedInSilence) {
  log_->SetClock(1000);
  log_->Append(0, Numbered(0, 10));
  log_->SetClock(2000);
  log_->Append(0, Numbered(10, 20));
  const auto source = log_->Open(0);
  ASSERT_TRUE(Seek(*source, {0}).ok());
  log_->Retain({2000});
  EXPECT_EQ(Earliest(*source), Offset{10});
  // The source may still have what it had fetched, but it must not jump.
  const Result<Batch> batch = PollSome(*source, 100);
  if (batch.ok()) {
    EXPECT_EQ(batch.value().first, Offset{0});
    ASSERT_FALSE(batch.value().records.empty());
    EXPECT_EQ(batch.value().records[0].offset, Offset{0});
  } else {
    EXPECT_EQ(batch.status().code(), StatusCode::kStop);
  }
  EXPECT_EQ(Seek(*source, {9}).code(), StatusCode::kStop);
  EXPECT_EQ(ReadToEnd(*source, {10}, 100, 10), Numbered(10, 20));
  log_->SetClock(9000);
  log_->Retain({8000});
  EXPECT_EQ(Earliest(*source), Offset{20});
  EXPECT_TRUE(Seek(*source, {20}).ok());
}

TEST_P(SourceTest, GoesOnWhereItWasAfterTheEndOfTheProcess) {
  log_->SetClock(5000);
  log_->Append(0, Numbered(0, 10));
  log_->Retain({5001});  // not even retention lets offsets or times go back
  log_->Append(1, Numbered(0, 5));
  log_->Reopen();
  log_->SetClock(4000);
  log_->Append(0, Numbered(10, 20));
  const auto source = log_->Open(0);
  EXPECT_EQ(Earliest(*source), Offset{10});
  newest_ = {5000};
  EXPECT_EQ(ReadToEnd(*source, {10}, 3, 10), Numbered(10, 20));
  newest_ = kNoAppendTime;
  EXPECT_EQ(ReadToEnd(*log_->Open(1), {0}, 3, 5), Numbered(0, 5));
}

TEST_P(SourceTest, AppendTimesNeverGoBack) {
  for (const int64_t now_ms : {1000, 3000, 2000, 2500, 3001, 1}) {
    log_->SetClock(now_ms);
    log_->Append(0, {"x"});
  }
  EXPECT_EQ(ReadToEnd(*log_->Open(0), {0}, 4, 6).size(), 6u);  // ReadToEnd() checks the times
  if (log_->clock_is_ours()) {
    EXPECT_EQ(newest_, AppendTime{3001});
  }
}

TEST_P(SourceTest, ReadersRunBesideTheWriter) {
  constexpr int64_t kRecords = 2000;
  std::atomic<int> wrong = 0;
  const auto read = [&](int64_t records_max) {
    const auto source = log_->Open(0);
    bool good = Seek(*source, {0}).ok();
    int64_t next = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (good && next < kRecords && std::chrono::steady_clock::now() < deadline) {
      const Result<Batch> batch = source->Poll(records_max);
      good = batch.ok() && batch.value().first == Offset{next};
      if (!good) break;
      for (const Record& record : batch.value().records) {
        good = good && record.offset == Offset{next} &&
               record.payload == fmt::format("record {}", next);
        ++next;
      }
      if (batch.value().records.empty()) std::this_thread::yield();
    }
    if (!good || next != kRecords) ++wrong;
  };
  std::vector<std::thread> readers;
  for (const int64_t records_max : {1, 100}) readers.emplace_back(read, records_max);
  for (int64_t n = 0; n < kRecords; n += 10) log_->Append(0, Numbered(n, n + 10));
  readers.emplace_back(read, 33);
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(All, SourceTest, testing::ValuesIn(Sources()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sightline::conformance
