#include "connectors/kafka/counts_sink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/counts_fold.h"
#include "connectors/kafka/mock_cluster.h"
#include "connectors/kafka/writer.h"

namespace sightline::kafka {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const SourcePartition kFrom{"kafka:cluster/raw/id", 1};

// One detection an offset, of one of two items.
Segment CountedSegment(int64_t first, int64_t next) {
  Segment segment{.first = {first}, .next = {next}, .watermark = {next * 1'000}};
  Ledger ledger;
  for (int64_t offset = first; offset < next; ++offset) {
    std::vector<CountRow> row;
    row.push_back({.key = {.pane_start = {0}, .location = {7}, .item = offset % 2 ? "car" : "bus"},
                   .count = 1,
                   .first_detected = {offset},
                   .last_detected = {offset}});
    MergeCounts(segment.counts, std::move(row));
    ++ledger.received;
    ++ledger.outcomes[static_cast<size_t>(Outcome::kCounted)];
  }
  segment.ledger.push_back(
      {.key = {.location = {7}, .camera = {2}, .hour = {0}}, .ledger = ledger});
  return segment;
}

// What a reader of the topic adds up (docs/KAFKA.md), and where it is.
struct Sum {
  std::map<std::string, int64_t> items;
  int64_t received = 0;
  Offset next;
  int commits = 0;
};
Sum SumOf(const std::vector<MockRecord>& records) {
  Sum sum;
  CountsFold fold;
  for (const MockRecord& record : records) {
    const auto commit = fold.Take(record.value.value_or(""));
    EXPECT_TRUE(commit.ok()) << commit.status().message();
    if (!commit.ok() || !commit.value()) continue;
    for (const CountRow& row : commit.value()->segment.counts) sum.items[row.key.item] += row.count;
    sum.received += commit.value()->segment.Total().received;
    sum.next = commit.value()->segment.next;
    ++sum.commits;
  }
  return sum;
}

class KafkaCountsSinkTest : public testing::Test {
 protected:
  KafkaCountsSinkTest() {
    for (const char* name : {"located_item_counts", "dead_letters", "late_detections"})
      cluster_.MakeTopic(name, 3);
  }
  KafkaWriterOptions Options() const {
    KafkaWriterOptions options{.kafka = cluster_.options(), .spec_id = "spec"};
    options.kafka.transaction_timeout = {1'000};
    return options;
  }
  static std::unique_ptr<Sink> Owner(KafkaWriter& writer) {
    auto sink = writer.OpenSink([] {});
    const Status fenced = Insist([&] { return sink->Fence(kFrom, {1}); });
    EXPECT_TRUE(fenced.ok()) << fenced.message();
    return sink;
  }
  static Result<Offset> Commit(Sink& sink, const std::vector<Segment>& segments) {
    return Insist([&] { return sink.Commit(kFrom, segments); });
  }
  Sum Counts() const { return SumOf(cluster_.Read("located_item_counts", 1)); }

  MockCluster cluster_;
};

TEST_F(KafkaCountsSinkTest, CommitsCountsWithTheOffset) {
  KafkaWriter writer(Options());
  const auto sink = Owner(writer);
  EXPECT_EQ(sink->Committed(kFrom).value(), kNoneCommitted);
  EXPECT_EQ(Commit(*sink, {CountedSegment(5, 8), CountedSegment(8, 10)}).value(), Offset{10});
  EXPECT_EQ(sink->Committed(kFrom).value(), Offset{10});
  EXPECT_EQ(Commit(*sink, {CountedSegment(10, 11)}).value(), Offset{11});
  const Sum sum = Counts();
  EXPECT_EQ(sum.items, (std::map<std::string, int64_t>{{"bus", 3}, {"car", 3}}));
  EXPECT_EQ(sum.received, 6);
  EXPECT_EQ(sum.next, Offset{11});
  EXPECT_EQ(sum.commits, 2);
  const KafkaWriterStats stats = writer.stats();
  EXPECT_EQ(stats.commits, 2);
  EXPECT_EQ(stats.failures, 0);
  EXPECT_EQ(stats.messages, std::ssize(cluster_.Read("located_item_counts", 1)));
}

TEST_F(KafkaCountsSinkTest, NeverBlocksAndReturnsTheOffsetThatWasCommitted) {
  KafkaWriter writer(Options());
  std::atomic<int> answers = 0;
  const auto sink = writer.OpenSink([&] { ++answers; });
  EXPECT_EQ(sink->Committed(kFrom).status().code(), StatusCode::kRebuild) << "before the fence";
  EXPECT_EQ(sink->Fence(kFrom, {1}).code(), StatusCode::kRetry);
  EXPECT_TRUE(Eventually([&] { return answers == 1; }));
  EXPECT_TRUE(sink->Fence(kFrom, {1}).ok());
  EXPECT_EQ(sink->Commit(kFrom, std::vector<Segment>{CountedSegment(0, 3)}).status().code(),
            StatusCode::kRetry);
  EXPECT_TRUE(Eventually([&] { return answers == 2; }));
  // The list has grown meanwhile.
  const std::vector<Segment> longer = {CountedSegment(0, 3), CountedSegment(3, 5)};
  EXPECT_EQ(sink->Commit(kFrom, longer).value(), Offset{3});
  EXPECT_EQ(Counts().next, Offset{3});
}

TEST_F(KafkaCountsSinkTest, TheNextOwnerContinuesAtTheCommittedOffset) {
  KafkaWriter writer(Options());
  auto sink = Owner(writer);
  EXPECT_EQ(Commit(*sink, {CountedSegment(0, 4)}).value(), Offset{4});
  sink = Owner(writer);
  EXPECT_EQ(sink->Committed(kFrom).value(), Offset{4});
  // Segments that are committed already are accepted; others that begin elsewhere are not.
  EXPECT_EQ(Commit(*sink, {CountedSegment(0, 2), CountedSegment(2, 4)}).value(), Offset{4});
  EXPECT_EQ(Commit(*sink, {CountedSegment(3, 5)}).status().code(), StatusCode::kRebuild);
  EXPECT_EQ(Commit(*sink, {CountedSegment(5, 6)}).status().code(), StatusCode::kRebuild);
  EXPECT_EQ(Commit(*sink, {CountedSegment(4, 6)}).value(), Offset{6});
  const Sum sum = Counts();
  EXPECT_EQ(sum.items, (std::map<std::string, int64_t>{{"bus", 3}, {"car", 3}}));
  EXPECT_EQ(sum.received, 6);
}

TEST_F(KafkaCountsSinkTest, DeadLettersGoToTheirTopics) {
  KafkaWriter writer(Options());
  const auto sink = Owner(writer);
  Segment segment = CountedSegment(0, 1);
  segment.dead_letters = {{.outcome = Outcome::kTooLate, .offset = {0}, .bytes = "late"},
                          {.outcome = Outcome::kMalformed, .offset = {0}, .bytes = "broken"},
                          {.outcome = Outcome::kFuture, .offset = {0}, .bytes = "early"}};
  EXPECT_EQ(Commit(*sink, {segment}).value(), Offset{1});
  EXPECT_THAT(cluster_.Values("late_detections", 1), ElementsAre("late"));
  EXPECT_THAT(cluster_.Values("dead_letters", 1), ElementsAre("broken", "early"));
}

TEST_F(KafkaCountsSinkTest, TotalsRunUnderOneKeyUntilTheGroupIsFull) {
  KafkaWriterOptions options = Options();
  options.group_rows_max = 2;  // two items fill it, with the row of the ledger
  KafkaWriter writer(options);
  const auto sink = Owner(writer);
  EXPECT_TRUE(Commit(*sink, {CountedSegment(0, 1)}).ok());
  EXPECT_TRUE(Commit(*sink, {CountedSegment(1, 2), CountedSegment(2, 3)}).ok());
  EXPECT_TRUE(Commit(*sink, {CountedSegment(3, 4)}).ok());
  std::map<std::string, std::vector<int64_t>> totals;  // by key
  std::vector<int64_t> groups;
  for (const MockRecord& record : cluster_.Read("located_item_counts", 1)) {
    const CountsRecord parsed = ParseCountsRecord(*record.value).value();
    if (!parsed.total) continue;
    totals[*record.key].push_back(parsed.total->count);
    if (groups.empty() || groups.back() != parsed.first.v) groups.push_back(parsed.first.v);
  }
  EXPECT_THAT(groups, ElementsAre(0, 3));
  EXPECT_EQ(totals.size(), 3) << "bus and car of the first group, car of the second";
  EXPECT_EQ(Counts().items, (std::map<std::string, int64_t>{{"bus", 2}, {"car", 2}}));
}

TEST_F(KafkaCountsSinkTest, AddsKnownLocationNames) {
  KafkaWriterOptions options = Options();
  options.location_name = [](LocationId location) {
    return location == LocationId{7} ? "Harbour" : "";
  };
  options.locations_version = [] { return int64_t{4}; };
  KafkaWriter writer(options);
  const auto sink = Owner(writer);
  EXPECT_TRUE(Commit(*sink, {CountedSegment(0, 1)}).ok());
  const CountsRecord total =
      ParseCountsRecord(*cluster_.Read("located_item_counts", 1)[0].value).value();
  ASSERT_TRUE(total.location);
  EXPECT_EQ(total.location->name, "Harbour");
  EXPECT_EQ(total.location->version, 4);
}

TEST_F(KafkaCountsSinkTest, WritesIntoTheConfiguredPartition) {
  KafkaWriterOptions options = Options();
  options.partition_of = [](const SourcePartition&) { return 2; };
  KafkaWriter writer(options);
  auto sink = Owner(writer);
  EXPECT_TRUE(Commit(*sink, {CountedSegment(0, 2)}).ok());
  EXPECT_THAT(cluster_.Read("located_item_counts", 1), IsEmpty());
  EXPECT_EQ(SumOf(cluster_.Read("located_item_counts", 2)).next, Offset{2});
  EXPECT_EQ(Owner(writer)->Committed(kFrom).value(), Offset{2}) << "and finds its place there";
}

TEST_F(KafkaCountsSinkTest, AfterAFailedCommitOnlyANewSinkContinues) {
  KafkaWriter writer(Options());
  auto sink = Owner(writer);
  EXPECT_EQ(Commit(*sink, {CountedSegment(0, 2)}).value(), Offset{2});
  cluster_.Refuse(MockRequest::kProduce, {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED});
  const Status refused = Commit(*sink, {CountedSegment(2, 3)}).status();
  EXPECT_EQ(refused.code(), StatusCode::kRebuild);
  EXPECT_THAT(refused.message(), HasSubstr("located_item_counts"));
  EXPECT_EQ(Commit(*sink, {CountedSegment(2, 3)}).status().code(), StatusCode::kRebuild);
  EXPECT_EQ(writer.stats().failures, 1);
  sink = Owner(writer);
  EXPECT_EQ(sink->Committed(kFrom).value(), Offset{2});
  EXPECT_EQ(Commit(*sink, {CountedSegment(2, 3)}).value(), Offset{3});
  EXPECT_EQ(Counts().received, 3);
}

TEST_F(KafkaCountsSinkTest, AFailedFenceCanBeRetried) {
  cluster_.Refuse(MockRequest::kInitProducerId,
                  {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED});
  KafkaWriter writer(Options());
  const auto sink = writer.OpenSink([] {});
  const Status refused = Insist([&] { return sink->Fence(kFrom, {1}); });
  EXPECT_EQ(refused.code(), StatusCode::kRebuild);
  EXPECT_THAT(refused.message(),
              AllOf(HasSubstr("'sightline-kafka:cluster/raw/id-1'"), HasSubstr("authorization")));
  EXPECT_TRUE(Insist([&] { return sink->Fence(kFrom, {1}); }).ok());
}

TEST_F(KafkaCountsSinkTest, AnUnreadableProgressRecordStops) {
  cluster_.Write("located_item_counts", 1, {"{}"}, ProgressKeyJson(kFrom));
  KafkaWriter writer(Options());
  const auto sink = writer.OpenSink([] {});
  const Status status = Insist([&] { return sink->Fence(kFrom, {1}); });
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr("topic 'located_item_counts' partition 1"));
}

TEST_F(KafkaCountsSinkTest, IgnoresTheProgressOfOtherSources) {
  KafkaWriterOptions options = Options();
  options.partition_of = [](const SourcePartition&) { return 0; };
  KafkaWriter writer(options);
  const SourcePartition other{kFrom.source, 2};
  const auto sink = Owner(writer);
  EXPECT_EQ(Commit(*sink, {CountedSegment(0, 2)}).value(), Offset{2});
  const auto another = writer.OpenSink([] {});
  EXPECT_TRUE(Insist([&] { return another->Fence(other, {1}); }).ok());
  EXPECT_EQ(another->Committed(other).value(), kNoneCommitted);
}

TEST_F(KafkaCountsSinkTest, CanBeDestroyedDuringTheFence) {
  KafkaWriter writer(Options());
  cluster_.StopBroker();
  const auto sink = writer.OpenSink([] {});
  EXPECT_EQ(sink->Fence(kFrom, {1}).code(), StatusCode::kRetry);
}

}  // namespace
}  // namespace sightline::kafka
