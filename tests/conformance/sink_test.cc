// What engine/sink.h promises.
#include "engine/sink.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "harness.h"
#include "model/segment.h"

namespace sightline::conformance {
namespace {

const SourcePartition kSinkPartition{"cluster/raw_camera_events/id", 1};

// A segment with some of everything. Sums over segments do not depend on where the offsets are cut.
Segment Make(int64_t first, int64_t next) {
  Segment segment{.first = {first}, .next = {next}, .watermark = {next * 1000}};
  Ledger ledger;
  for (int64_t offset = first; offset < next; ++offset) {
    const EventTime time{offset * 1000};
    std::vector<CountRow> row;
    row.push_back({.key = {.pane_start = {time.v / 10'000 * 10'000},
                           .location = {offset % 3},
                           .item = offset % 2 == 0 ? "bus" : "car"},
                   .count = 1,
                   .first_detected = time,
                   .last_detected = time});
    MergeCounts(segment.counts, std::move(row));
    ++ledger.received;
    ++ledger.outcomes[static_cast<size_t>(Outcome::kCounted)];
    if (offset % 5 != 0) continue;
    const Outcome outcome = offset % 2 == 0 ? Outcome::kTooLate : Outcome::kMalformed;
    segment.dead_letters.push_back({.outcome = outcome,
                                    .offset = {offset},
                                    .append_time = {offset},
                                    .bytes = std::string(static_cast<size_t>(offset), '{')});
    ++ledger.received;
    ++ledger.outcomes[static_cast<size_t>(outcome)];
  }
  segment.ledger.push_back(
      {.key = {.location = {1}, .camera = {2}, .hour = {0}}, .ledger = ledger});
  return segment;
}

// A segment whose rows occur in no other one.
Segment MakeWide(int64_t first, int64_t next, int64_t rows) {
  Segment segment{.first = {first}, .next = {next}, .watermark = {next * 1000}};
  for (int64_t row = 0; row < rows; ++row)
    segment.counts.push_back({.key = {.pane_start = {first * 1'000},
                                      .location = {1},
                                      .item = std::to_string(100'000 + row)},
                              .count = 1,
                              .first_detected = {first * 1'000},
                              .last_detected = {first * 1'000}});
  Ledger ledger;
  ledger.received = rows;
  ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = rows;
  segment.ledger.push_back(
      {.key = {.location = {1}, .camera = {2}, .hour = {0}}, .ledger = ledger});
  return segment;
}

class SinkTest : public testing::TestWithParam<Implementation<SinkHarness>> {
 protected:
  std::unique_ptr<Sink> Owner(const SourcePartition& partition = kSinkPartition) {
    auto sink = home_->Open();
    const Status fenced = Ask([&] { return sink->Fence(partition, {++epoch_}); });
    EXPECT_TRUE(fenced.ok()) << fenced.message();
    return sink;
  }
  static Result<Offset> Commit(Sink& sink, const std::vector<Segment>& segments,
                               const SourcePartition& partition = kSinkPartition) {
    return Ask([&] { return sink.Commit(partition, segments); });
  }
  static Offset Committed(Sink& sink, const SourcePartition& partition = kSinkPartition) {
    const Result<Offset> committed = Ask([&] { return sink.Committed(partition); });
    EXPECT_TRUE(committed.ok()) << committed.status().message();
    return committed.ok() ? committed.value() : Offset{-2};
  }
  void ExpectStored(int64_t first, int64_t next) {
    Segment all = Make(first, next);
    const Stored stored = home_->Read(kSinkPartition);
    const Stored kept = home_->Kept({all.counts, all.ledger, all.dead_letters});
    EXPECT_EQ(stored.counts, kept.counts);
    EXPECT_EQ(stored.ledger, kept.ledger);
    EXPECT_EQ(stored.dead_letters, kept.dead_letters);
  }

  std::unique_ptr<SinkHarness> home_ = GetParam().make();
  int64_t epoch_ = 0;
};

TEST_P(SinkTest, TakesTheFirstSegmentWhereverItBegins) {
  const auto sink = Owner();
  EXPECT_EQ(Committed(*sink), kNoneCommitted);
  EXPECT_EQ(Commit(*sink, {Make(70, 80)}).value(), Offset{80});
  EXPECT_EQ(Committed(*sink), Offset{80});
  ExpectStored(70, 80);
}

TEST_P(SinkTest, HasEverySegmentOnceHoweverTheyAreCut) {
  auto sink = Owner();
  EXPECT_EQ(Commit(*sink, {Make(0, 3)}).value(), Offset{3});
  EXPECT_EQ(Commit(*sink, {Make(3, 4), Make(4, 20), Make(20, 21)}).value(), Offset{21});
  for (int64_t n = 21; n < 60; n += 3)
    EXPECT_EQ(Commit(*sink, {Make(n, n + 3)}).value(), Offset{n + 3});
  ExpectStored(0, 60);
  sink = nullptr;
  home_->Reopen();
  ExpectStored(0, 60);
  sink = Owner();
  EXPECT_EQ(Committed(*sink), Offset{60});
  EXPECT_EQ(Commit(*sink, {Make(60, 70)}).value(), Offset{70});
  ExpectStored(0, 70);
}

// However large it is, the answer is the end of the offer: the task knows no other boundary.
TEST_P(SinkTest, TakesAnOfferWhole) {
  const auto sink = Owner();
  std::vector<Segment> large;
  for (int64_t n = 0; n < 4; ++n) large.push_back(MakeWide(n * 10, n * 10 + 10, 10'000));
  EXPECT_EQ(Commit(*sink, large).value(), Offset{40});
  EXPECT_EQ(Committed(*sink), Offset{40});
  Segment all = large[0];
  for (int64_t n = 1; n < 4; ++n) all.Merge(Segment(large[n]));
  const Stored kept = home_->Kept({all.counts, all.ledger, all.dead_letters});
  EXPECT_EQ(home_->Read(kSinkPartition).counts, kept.counts);
}

TEST_P(SinkTest, ComparesAndSets) {
  ASSERT_TRUE(Commit(*Owner(), {Make(0, 10)}).ok());
  for (const auto& [first, next] : {std::pair{0, 5}, {0, 11}, {5, 15}, {11, 12}}) {
    const auto sink = Owner();
    EXPECT_EQ(Commit(*sink, {Make(first, next)}).status().code(), StatusCode::kRebuild) << first;
    EXPECT_EQ(Committed(*sink), Offset{10});
  }
  ExpectStored(0, 10);
}

TEST_P(SinkTest, FindsACommitWhoseAnswerWasLost) {
  ASSERT_TRUE(Commit(*Owner(), {Make(0, 10)}).ok());
  const auto sink = Owner();
  EXPECT_EQ(Commit(*sink, {Make(0, 4), Make(4, 10)}).value(), Offset{10});
  EXPECT_EQ(Commit(*sink, {Make(10, 12)}).value(), Offset{12});
  ExpectStored(0, 12);
}

TEST_P(SinkTest, AnEarlierOwnerCommitsNothing) {
  const auto zombie = Owner();
  ASSERT_TRUE(Commit(*zombie, {Make(0, 10)}).ok());
  const auto owner = Owner();
  EXPECT_EQ(Commit(*zombie, {Make(10, 20)}).status().code(), StatusCode::kRebuild);
  EXPECT_EQ(Committed(*owner), Offset{10});
  EXPECT_EQ(Commit(*owner, {Make(10, 15)}).value(), Offset{15});
  EXPECT_EQ(Commit(*zombie, {Make(15, 20)}).status().code(), StatusCode::kRebuild);
  ExpectStored(0, 15);
}

TEST_P(SinkTest, OnlyAnOwnerCommits) {
  EXPECT_EQ(Commit(*home_->Open(), {Make(0, 10)}).status().code(), StatusCode::kRebuild);
}

TEST_P(SinkTest, FencesPartitionByPartition) {
  const SourcePartition other_partition{kSinkPartition.source, 0};
  const SourcePartition other_source{kSinkPartition.source + "2", kSinkPartition.partition};
  const auto sink = Owner();
  for (const SourcePartition& other : {other_partition, other_source}) {
    const auto owner = Owner(other);
    EXPECT_EQ(Committed(*owner, other), kNoneCommitted);
    EXPECT_EQ(Commit(*owner, {Make(5, 7)}, other).value(), Offset{7});
  }
  EXPECT_EQ(Commit(*sink, {Make(0, 10)}).value(), Offset{10});
  ExpectStored(0, 10);
}

// After a fence, what an earlier owner had under way has either taken effect already, or never
// will.
TEST_P(SinkTest, NothingUnderWayTakesEffectAfterAFence) {
  int64_t next = 0;
  int applied = 0;
  for (int round = 0; round < 40; ++round) {
    const auto zombie = Owner();
    const std::vector<Segment> segments = {Make(next, next + 3)};
    const Result<Offset> begun = zombie->Commit(kSinkPartition, segments);
    if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50 * round));
    const auto owner = Owner();
    const Offset committed = Committed(*owner);
    ASSERT_TRUE(committed == Offset{next + 3} || committed == Offset{next} ||
                committed == kNoneCommitted);
    if (begun.ok()) {
      ASSERT_EQ(committed, Offset{next + 3});
    }
    applied += committed == Offset{next + 3};
    const Result<Offset> late = Commit(*zombie, segments);
    if (committed != Offset{next + 3}) {
      EXPECT_EQ(late.status().code(), StatusCode::kRebuild);
    }
    EXPECT_EQ(Committed(*owner), committed);
    if (committed != kNoneCommitted) next = committed.v;
    ASSERT_EQ(Commit(*owner, {Make(next, next + 2)}).value(), Offset{next + 2});
    next += 2;
  }
  RecordProperty("applied", applied);
  ExpectStored(0, next);
}

TEST_P(SinkTest, AnswersWithWhatItCommittedWhateverTheListIs) {
  const auto sink = Owner();
  std::vector<Segment> list = {Make(0, 1)};
  Offset committed{0};
  while (committed < Offset{30}) {
    const Result<Offset> answer = sink->Commit(kSinkPartition, list);
    if (answer.ok()) {
      ASSERT_GT(answer.value(), committed);
      ASSERT_LE(answer.value(), list.back().next);
      committed = answer.value();
      std::erase_if(list, [&](const Segment& segment) { return segment.next <= committed; });
    } else {
      ASSERT_EQ(answer.status().code(), StatusCode::kRetry) << answer.status().message();
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    if (list.empty() || list.back().next < Offset{30}) {
      const int64_t first = list.empty() ? committed.v : list.back().next.v;
      list.push_back(Make(first, first + 1));
    }
  }
  ExpectStored(0, committed.v);
}

INSTANTIATE_TEST_SUITE_P(All, SinkTest, testing::ValuesIn(Sinks()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sightline::conformance
