#include "connectors/embedded_log/counts_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "connectors/embedded_log/dead_letter_record.h"
#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/testing.h"

namespace sightline {
namespace {

using embedded_log_testing::ReadAll;
using embedded_log_testing::Settle;
using embedded_log_testing::Stall;
using embedded_log_testing::TemporaryDirectory;
using testing::HasSubstr;

constexpr int64_t kHourMs = 3'600'000;

class CountsSinkTest : public testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    log_ = nullptr;
    Result<std::unique_ptr<EmbeddedLog>> opened =
        EmbeddedLog::Open({.dir = directory_.path() + "/data", .partitions = 2, .clock = &time_});
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    log_ = std::move(opened).value();
  }
  std::unique_ptr<Sink> Owner(CountsSinkOptions options = {}) {
    std::unique_ptr<Sink> sink = log_->OpenCountsSink(std::move(options));
    const Status fenced = Settle([&] { return sink->Fence(kPartition, {++epoch_}); });
    EXPECT_TRUE(fenced.ok()) << fenced.message();
    return sink;
  }
  Result<Offset> Commit(Sink& sink, const std::vector<Segment>& segments) {
    return Settle([&] { return sink.Commit(kPartition, segments); });
  }
  std::vector<Segment> Groups(EventTime not_before = kBeforeAllTime) {
    std::vector<Segment> groups;
    const Status read = log_->ForEachGroup(
        kPartition, not_before, [&](Segment&& segment) { groups.push_back(std::move(segment)); });
    EXPECT_TRUE(read.ok()) << read.message();
    return groups;
  }
  // One counted detection per offset, in the pane that begins at `pane`.
  static Segment Make(int64_t first, int64_t next, int64_t pane, const std::string& item = "bus") {
    Segment segment{.first = {first}, .next = {next}, .watermark = {pane}};
    segment.counts.push_back({.key = {.pane_start = {pane}, .location = {7}, .item = item},
                              .count = next - first,
                              .first_detected = {pane + 1},
                              .last_detected = {pane + 9}});
    Ledger ledger{.received = next - first};
    ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = next - first;
    segment.ledger.push_back(
        {.key = {.location = {7}, .camera = {1}, .hour = {0}}, .ledger = ledger});
    return segment;
  }
  static void SetEventAside(Segment& segment, Outcome outcome, int64_t offset) {
    segment.dead_letters.push_back({.outcome = outcome, .offset = {offset}, .bytes = "{}"});
    Ledger& ledger = segment.ledger[0].ledger;
    ++ledger.received;
    ++ledger.outcomes[static_cast<size_t>(outcome)];
  }

  static inline const SourcePartition kPartition{"embedded:0123/raw", 1};
  TemporaryDirectory directory_;
  ManualClock clock_{1'763'800'000'000};
  LogClock time_{clock_};
  std::unique_ptr<EmbeddedLog> log_;
  int64_t epoch_ = 0;
};

TEST_F(CountsSinkTest, MergesConsecutiveSegmentsIntoOneGroup) {
  const auto sink = Owner();
  EXPECT_EQ(sink->Committed(kPartition).value(), kNoneCommitted);
  EXPECT_EQ(Commit(*sink, {Make(5, 8, 1000)}).value(), Offset{8});
  EXPECT_EQ(Commit(*sink, {Make(8, 10, 1000), Make(10, 11, 2000, "car")}).value(), Offset{11});
  const std::vector<Segment> groups = Groups();
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].first, Offset{5});
  EXPECT_EQ(groups[0].next, Offset{11});
  ASSERT_EQ(groups[0].counts.size(), 2u);
  EXPECT_EQ(groups[0].counts[0].count, 5);
  EXPECT_EQ(groups[0].watermark, Watermark{2000});
  const auto progress = log_->Progress(kPartition);
  ASSERT_TRUE(progress.ok() && progress.value().has_value());
  EXPECT_EQ(progress.value()->next, Offset{11});
  EXPECT_EQ(progress.value()->watermark, Watermark{2000});
  EXPECT_EQ(progress.value()->ledger.of(Outcome::kCounted), 6);
  EXPECT_TRUE(progress.value()->ledger.Balanced());
}

TEST_F(CountsSinkTest, BeginsANewGroupWhenOneIsOldOrLarge) {
  const auto sink = Owner({.group_age_max = {60'000}, .group_rows_max = 3});
  ASSERT_TRUE(Commit(*sink, {Make(0, 1, 1000)}).ok());  // 2 rows: a count and a ledger
  ASSERT_TRUE(Commit(*sink, {Make(1, 2, 2000)}).ok());  // 3
  ASSERT_TRUE(Commit(*sink, {Make(2, 3, 3000)}).ok());  // 4
  EXPECT_EQ(Groups().size(), 1u);
  ASSERT_TRUE(Commit(*sink, {Make(3, 4, 4000)}).ok());
  EXPECT_EQ(Groups().size(), 2u);
  clock_.Advance(60'001);
  ASSERT_TRUE(Commit(*sink, {Make(4, 5, 5000)}).ok());
  const std::vector<Segment> groups = Groups();
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[1].first, Offset{3});
  EXPECT_EQ(groups[2].first, Offset{4});
}

TEST_F(CountsSinkTest, ANewTaskBeginsANewGroup) {
  ASSERT_TRUE(Commit(*Owner(), {Make(0, 1, 1000)}).ok());
  Open();
  const auto sink = Owner();
  EXPECT_EQ(sink->Committed(kPartition).value(), Offset{1});
  ASSERT_TRUE(Commit(*sink, {Make(1, 2, 1000)}).ok());
  const std::vector<Segment> groups = Groups();
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].next, groups[1].first);
  EXPECT_EQ(log_->Progress(kPartition).value()->ledger.received, 2);
}

TEST_F(CountsSinkTest, RemovesGroupsOfThePastButNotTheLedger) {
  const auto sink = Owner({.group_rows_max = 0, .groups_retention = {25 * kHourMs}});
  ASSERT_TRUE(Commit(*sink, {Make(0, 1, 0)}).ok());
  ASSERT_TRUE(Commit(*sink, {Make(1, 2, 20 * kHourMs)}).ok());
  ASSERT_TRUE(Commit(*sink, {Make(2, 3, 25 * kHourMs)}).ok());
  EXPECT_EQ(Groups().size(), 3u);
  EXPECT_EQ(Groups({20 * kHourMs}).size(), 2u);
  EXPECT_EQ(Groups({20 * kHourMs + 1}).size(), 1u);
  ASSERT_TRUE(Commit(*sink, {Make(3, 4, 26 * kHourMs)}).ok());
  EXPECT_EQ(Groups().size(), 3u);
  EXPECT_EQ(log_->Progress(kPartition).value()->ledger.received, 4);
}

TEST_F(CountsSinkTest, KeepsEventsAsideInTheirTopics) {
  const auto sink = Owner();
  Segment segment = Make(0, 3, 1000);
  SetEventAside(segment, Outcome::kMalformed, 0);
  SetEventAside(segment, Outcome::kTooLate, 1);
  SetEventAside(segment, Outcome::kFuture, 2);
  ASSERT_TRUE(Commit(*sink, {segment}).ok());
  const auto read = [this](std::string_view topic) {
    std::vector<DeadLetterRecord> events;
    const auto source = log_->OpenSource(topic, 1);
    const auto records = ReadAll(*source, {0});
    for (const auto& record : records.value())
      events.push_back(DecodeDeadLetter(record.payload).value());
    return events;
  };
  const auto dead = read(kDeadLettersTopic);
  ASSERT_EQ(dead.size(), 2u);
  EXPECT_EQ(dead[0].from, kPartition);
  EXPECT_EQ(dead[0].event, segment.dead_letters[0]);
  EXPECT_EQ(dead[1].event, segment.dead_letters[2]);
  const auto late = read(kLateDetectionsTopic);
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].event, segment.dead_letters[1]);
  EXPECT_TRUE(Groups()[0].dead_letters.empty());
}

TEST_F(CountsSinkTest, RefusesTheQueuedCommitOfAnEarlierOwner) {
  const auto zombie = Owner();
  ASSERT_TRUE(Commit(*zombie, {Make(0, 1, 1000)}).ok());
  const auto owner = log_->OpenCountsSink({});
  {
    Stall stall(*log_);
    const std::vector<Segment> segments = {Make(1, 2, 1000)};
    EXPECT_EQ(zombie->Commit(kPartition, segments).status().code(), StatusCode::kRetry);
    EXPECT_EQ(owner->Fence(kPartition, {9}).code(), StatusCode::kRetry);
    EXPECT_EQ(zombie->Commit(kPartition, segments).status().code(), StatusCode::kRetry);
  }
  ASSERT_TRUE(Settle([&] { return owner->Fence(kPartition, {9}); }).ok());
  EXPECT_EQ(owner->Committed(kPartition).value(), Offset{1});
  const Result<Offset> refused = Commit(*zombie, {Make(1, 2, 1000)});
  EXPECT_EQ(refused.status().code(), StatusCode::kRebuild);
  EXPECT_THAT(refused.status().message(), HasSubstr("newer task"));
  EXPECT_EQ(Commit(*owner, {Make(1, 3, 1000)}).value(), Offset{3});
}

TEST_F(CountsSinkTest, AFenceWaitsForWhatIsBeingApplied) {
  const auto owner = log_->OpenCountsSink({});
  Stall stall(*log_);
  EXPECT_EQ(owner->Fence(kPartition, {1}).code(), StatusCode::kRetry);
  EXPECT_EQ(owner->Fence(kPartition, {1}).code(), StatusCode::kRetry);
  stall.Release();
  EXPECT_TRUE(Settle([&] { return owner->Fence(kPartition, {1}); }).ok());
}

TEST_F(CountsSinkTest, AnswersWithWhatItCommittedWhateverTheListIsNow) {
  std::atomic<int> answers = 0;
  const auto sink = Owner({.on_answer = [&answers] { ++answers; }});
  const int before = answers;
  const std::vector<Segment> two = {Make(0, 1, 1000), Make(1, 2, 1000)};
  EXPECT_EQ(sink->Commit(kPartition, std::span(two).first(1)).status().code(), StatusCode::kRetry);
  while (answers == before) std::this_thread::yield();
  EXPECT_EQ(sink->Commit(kPartition, two).value(), Offset{1});
  EXPECT_EQ(Commit(*sink, {two[1]}).value(), Offset{2});
}

TEST_F(CountsSinkTest, ALostAnswerIsFoundAgainAndNotCountedTwice) {
  const auto sink = Owner();
  ASSERT_TRUE(Commit(*sink, {Make(0, 2, 1000)}).ok());
  const auto again = Owner();
  EXPECT_EQ(Commit(*again, {Make(0, 1, 1000), Make(1, 2, 1000)}).value(), Offset{2});
  EXPECT_EQ(Commit(*again, {Make(2, 3, 1000)}).value(), Offset{3});
  const std::vector<Segment> groups = Groups();
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[1].first, Offset{2}) << "what was not written must not be in the next group";
  EXPECT_EQ(log_->Progress(kPartition).value()->ledger.received, 3);
}

TEST_F(CountsSinkTest, SaysWhenACountIsDamaged) {
  ASSERT_TRUE(Commit(*Owner(), {Make(0, 2, 1000)}).ok());
  log_ = nullptr;
  sqlite3* database = nullptr;
  const std::string path = directory_.path() + "/data/log.db";
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(
      sqlite3_exec(database, "UPDATE groups SET newest_pane = 1; UPDATE progress SET next = 9",
                   nullptr, nullptr, nullptr),
      SQLITE_OK);
  sqlite3_close(database);
  Open();
  const Status groups = log_->ForEachGroup(kPartition, kBeforeAllTime, [](Segment&&) {});
  EXPECT_EQ(groups.code(), StatusCode::kStop);
  EXPECT_THAT(groups.message(), HasSubstr("'groups' of 'log.db'"));
  EXPECT_EQ(log_->Progress(kPartition).status().code(), StatusCode::kStop);
  EXPECT_EQ(log_->OpenCountsSink({})->Committed(kPartition).status().code(), StatusCode::kStop);
}

}  // namespace
}  // namespace sightline
