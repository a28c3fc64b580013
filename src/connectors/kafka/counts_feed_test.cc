#include "connectors/kafka/counts_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/mock_cluster.h"
#include "connectors/kafka/writer.h"

namespace sightline::kafka {
namespace {

using ::testing::HasSubstr;

class KafkaCountsFeedTest : public testing::Test {
 protected:
  // As a task writes it: of source partition `partition`, the offsets [first, next).
  void Commit(int32_t partition, int64_t first, int64_t next) {
    const SourcePartition from{source_, partition};
    auto& sink = sinks_[partition];
    if (sink == nullptr) {
      sink = writer_.OpenSink([] {});
      ASSERT_TRUE(Insist([&] { return sink->Fence(from, {1}); }).ok());
    }
    const std::vector<Segment> segments = {BusSegment(first, next)};
    const auto committed = Insist([&] { return sink->Commit(from, segments); });
    ASSERT_TRUE(committed.ok()) << committed.status().message();
  }
  std::unique_ptr<KafkaCountsFeed> Open() { return Open(counts_); }
  std::unique_ptr<KafkaCountsFeed> Open(const KafkaTopic& counts) {
    return std::move(KafkaCountsFeed::Open(
                         {.kafka = cluster_.options(),
                          .counts = counts,
                          .raw_topics = [this] { return std::vector{raw_}; },
                          .on_segment = [this](const SourcePartition& from,
                                               Segment&& s) { Take(from, std::move(s)); }}))
        .value();
  }
  void Take(const SourcePartition& from, Segment&& segment) {
    const std::lock_guard lock(mutex_);
    Seen& seen = seen_[from.partition];
    EXPECT_EQ(from.source, source_);
    if (seen.next.v > 0) {
      EXPECT_EQ(segment.first, seen.next);
    }
    seen.next = segment.next;
    for (const CountRow& row : segment.counts) seen.counted += row.count;
    seen.received += segment.Total().received;
  }
  bool Sees(int32_t partition, int64_t counted) {
    return Eventually([&] {
      const std::lock_guard lock(mutex_);
      return seen_[partition].counted == counted && seen_[partition].received == counted;
    });
  }

  MockCluster cluster_;
  const KafkaTopic counts_ = cluster_.MakeTopic("located_item_counts", 2);
  const KafkaTopic raw_ = cluster_.MakeTopic("raw", 2);
  const std::string source_ = KafkaSourceName("cluster", raw_);
  KafkaWriter writer_{KafkaWriterOptions{.kafka = cluster_.options(), .spec_id = "spec"}};
  std::map<int32_t, std::unique_ptr<Sink>> sinks_;
  struct Seen {
    Offset next;
    int64_t counted = 0, received = 0;
  };
  std::mutex mutex_;
  std::map<int32_t, Seen> seen_;  // under mutex_
};

TEST_F(KafkaCountsFeedTest, DeliversWhatEachCommitAdded) {
  Commit(0, 0, 3);
  Commit(0, 3, 5);
  Commit(1, 10, 11);
  const auto feed = Open();
  EXPECT_TRUE(Sees(0, 5));
  EXPECT_TRUE(Sees(1, 1));
  EXPECT_TRUE(Eventually([&] { return feed->stats().caught_up; }));
  Commit(0, 5, 9);
  EXPECT_TRUE(Sees(0, 9));
  Commit(1, 11, 12);
  EXPECT_TRUE(Sees(1, 2));
  const KafkaCountsFeedStats stats = feed->stats();
  EXPECT_EQ(stats.segments, 5);
  EXPECT_EQ(stats.records, 15) << "a total, a row of the ledger and the progress each";
  EXPECT_EQ(stats.refused, 0);
  EXPECT_FALSE(stats.reading);
  EXPECT_EQ(stats.trouble, "");
}

TEST_F(KafkaCountsFeedTest, HasCaughtUpWithAnEmptyTopicAtOnce) {
  const auto feed = Open();
  EXPECT_TRUE(Eventually([&] { return feed->stats().caught_up; }));
  EXPECT_FALSE(feed->stats().reading);
}

TEST_F(KafkaCountsFeedTest, CountsForeignRecordsAndContinues) {
  cluster_.Write("located_item_counts", 0, {"not ours", "{}", std::nullopt});
  Commit(0, 0, 3);
  const auto feed = Open();
  EXPECT_TRUE(Sees(0, 3));
  EXPECT_EQ(feed->stats().refused, 3);
  EXPECT_EQ(feed->stats().trouble, "");
}

TEST_F(KafkaCountsFeedTest, BeginsWithWhatRetentionLeft) {
  Commit(0, 0, 3);  // three records and an end
  Commit(0, 3, 5);
  cluster_.DeleteBefore("located_item_counts", 0, 4);
  const auto feed = Open();
  EXPECT_TRUE(Eventually([&] { return feed->stats().segments == 1; }));
  Commit(0, 5, 9);
  EXPECT_TRUE(Eventually([&] {
    const std::lock_guard lock(mutex_);
    return seen_[0].next == Offset{9};
  }));
  EXPECT_EQ(feed->stats().refused, 0);
}

TEST_F(KafkaCountsFeedTest, KnowsWhereTheRawTopicsEnd) {
  const auto feed = Open();
  cluster_.Write("raw", 1, {"a", "b", "c"});
  EXPECT_TRUE(Eventually([&] { return feed->EndOf({source_, 1}).next == Offset{3}; }));
  EXPECT_EQ(feed->EndOf({source_, 0}).next, Offset{0});
  EXPECT_EQ(feed->EndOf({"embedded:uuid", 1}).next, Offset{0});
}

TEST_F(KafkaCountsFeedTest, ReportsWhyItReadsNothing) {
  Commit(0, 0, 3);
  cluster_.StopBroker();
  const auto feed = Open();
  EXPECT_TRUE(Eventually([&] { return feed->stats().trouble != ""; }));
  EXPECT_THAT(feed->stats().trouble, HasSubstr("located_item_counts"));
  EXPECT_FALSE(feed->stats().caught_up);
  cluster_.StartBroker();
  EXPECT_TRUE(Sees(0, 3));
  EXPECT_TRUE(Eventually([&] { return feed->stats().trouble == "" && feed->stats().caught_up; }));
}

}  // namespace
}  // namespace sightline::kafka
