#include "connectors/kafka/steps.h"

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
using ::testing::HasSubstr;

const SourcePartition kStepFrom{"kafka:cluster/raw/id", 1};

class KafkaStepsTest : public testing::Test {
 protected:
  // As counting writes `item_counts`, where the next step puts the names.
  void Commit(int64_t first, int64_t next) {
    if (sink_ == nullptr) {
      sink_ = writer_.OpenSink([] {});
      ASSERT_TRUE(Insist([&] { return sink_->Fence(kStepFrom, {1}); }).ok());
    }
    const std::vector<Segment> segments = {BusSegment(first, next)};
    ASSERT_TRUE(Insist([&] { return sink_->Commit(kStepFrom, segments); }).ok());
  }
  std::unique_ptr<KafkaSteps> Open() { return Open(counts_); }
  std::unique_ptr<KafkaSteps> Open(const KafkaTopic& from) {
    KafkaStepsOptions options{.kafka = cluster_.options(),
                              .from = from,
                              .to = "to",
                              .transactional_prefix = "step-",
                              .commit_interval = {0}};
    options.kafka.transaction_timeout = {1'000};
    return std::move(KafkaSteps::Open(std::move(options))).value();
  }
  static std::unique_ptr<KafkaStep> Join(KafkaSteps& steps) {
    return steps.OpenJoin(
        1, [](LocationId) { return std::pair(std::string("Harbour"), int64_t{4}); }, [] {});
  }
  // Until `holds`, or the step says what is not to be gone on with.
  template <typename Holds>
  static Status RunUntil(KafkaStep& step, Holds holds) {
    Status status = Status::Ok();
    EXPECT_TRUE(Eventually([&] {
      status = step.Step(false);
      return (!status.ok() && status.code() != StatusCode::kRetry) || holds();
    })) << status.message();
    return status;
  }
  static void RunTo(KafkaStep& step, Offset next) {
    const Status status =
        RunUntil(step, [&] { return step.stats().next >= next && step.drained(); });
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kRetry) << status.message();
  }
  Offset CountsEnd() const {
    // The end of the newest transaction comes after its last record.
    return {cluster_.Read(counts_.name, 1).back().offset + 2};
  }
  // What a reader of `to` adds up, and that each commit of counting is there once.
  int64_t Written() const {
    int64_t counted = 0;
    Offset next{0};
    CountsFold fold;
    for (const MockRecord& record : cluster_.Read("to", 1)) {
      const auto commit = fold.Take(record.value.value_or(""));
      EXPECT_TRUE(commit.ok()) << commit.status().message();
      if (!commit.ok() || !commit.value()) continue;
      EXPECT_EQ(commit.value()->segment.first, next);
      next = commit.value()->segment.next;
      for (const CountRow& row : commit.value()->segment.counts) counted += row.count;
    }
    return counted;
  }

  MockCluster cluster_;
  const KafkaTopic counts_ = cluster_.MakeTopic("counts", 2);
  const KafkaTopic to_ = cluster_.MakeTopic("to", 2);
  KafkaWriter writer_{KafkaWriterOptions{.kafka = cluster_.options(),
                                         .counts_topic = "counts",
                                         .spec_id = "spec",
                                         .group_rows_max = 1}};
  std::unique_ptr<Sink> sink_;
};

TEST_F(KafkaStepsTest, JoinAddsTheLocationNames) {
  Commit(0, 3);
  const auto steps = Open();
  const auto step = Join(*steps);
  EXPECT_EQ(step->Step(false).code(), StatusCode::kRetry) << "it never waits";
  EXPECT_FALSE(step->stats().running);
  RunTo(*step, CountsEnd());
  Commit(3, 5);
  RunTo(*step, CountsEnd());
  EXPECT_EQ(Written(), 5);
  const std::vector<MockRecord> read = cluster_.Read("counts", 1), written = cluster_.Read("to", 1);
  ASSERT_EQ(written.size(), read.size());
  for (size_t i = 0; i < read.size(); ++i) EXPECT_EQ(written[i].key, read[i].key);
  const CountsRecord total = ParseCountsRecord(*written[0].value).value();
  ASSERT_TRUE(total.location);
  EXPECT_EQ(total.location->name, "Harbour");
  EXPECT_EQ(total.location->version, 4);
  const KafkaStepStats stats = step->stats();
  EXPECT_TRUE(stats.running);
  EXPECT_EQ(stats.messages, 6);
  EXPECT_EQ(stats.failures, 0);
  EXPECT_EQ(stats.refused, 0);
  EXPECT_GE(stats.end, stats.next);
}

TEST_F(KafkaStepsTest, TheNextOwnerContinuesAtThePositionOfThePreviousOne) {
  Commit(0, 3);
  {
    const auto steps = Open();
    const auto step = Join(*steps);
    RunTo(*step, CountsEnd());
  }
  Commit(3, 5);
  const auto steps = Open();
  const auto step = Join(*steps);
  RunTo(*step, CountsEnd());
  EXPECT_EQ(Written(), 5);
  EXPECT_EQ(cluster_.Read("to", 1).size(), 6) << "nothing is there twice";
}

TEST_F(KafkaStepsTest, TransformWritesCompleteGroups) {
  Commit(0, 3);
  Commit(3, 5);
  Commit(5, 6);  // its group is open
  const auto steps = Open();
  const auto step = steps->OpenTransform(1, [] {});
  RunTo(*step, CountsEnd());
  EXPECT_EQ(Written(), 5);
  Commit(6, 8);
  RunTo(*step, CountsEnd());
  EXPECT_EQ(Written(), 6);
}

TEST_F(KafkaStepsTest, SkipsForeignRecords) {
  cluster_.Write("counts", 1, {"not ours"});
  Commit(0, 3);
  const auto steps = Open();
  const auto step = Join(*steps);
  RunTo(*step, CountsEnd());
  EXPECT_EQ(step->stats().refused, 1);
  EXPECT_EQ(Written(), 3);
}

TEST_F(KafkaStepsTest, StopsWhereAnotherProgramHasWritten) {
  cluster_.Write("to", 1, {"another's"});
  const auto steps = Open();
  const auto step = Join(*steps);
  const Status status = RunUntil(*step, [] { return false; });
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("topic 'to' partition 1"), HasSubstr("another program")));
}

TEST_F(KafkaStepsTest, ATopicThatWasCreatedAgainIsReadFromItsBeginning) {
  Commit(0, 3);
  {
    const auto steps = Open();
    const auto step = Join(*steps);
    RunTo(*step, CountsEnd());
  }
  KafkaTopic again = counts_;
  again.id = "another-id";
  const auto steps = Open(again);
  const auto step = Join(*steps);
  RunTo(*step, CountsEnd());
  EXPECT_EQ(cluster_.Read("to", 1).size(), 6);
}

TEST_F(KafkaStepsTest, AFencedStepIsRebuilt) {
  Commit(0, 3);
  const auto steps = Open();
  auto step = Join(*steps);
  RunTo(*step, CountsEnd());
  cluster_.Refuse(MockRequest::kAddPartitions, {RD_KAFKA_RESP_ERR_PRODUCER_FENCED});
  sink_ = nullptr;
  cluster_.Write("counts", 1, {cluster_.Values("counts", 1).back()});
  const Status status = RunUntil(*step, [] { return false; });
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_EQ(step->stats().failures, 1);
  step = Join(*steps);
  RunTo(*step, {5});
  EXPECT_EQ(Written(), 3);
}

TEST_F(KafkaStepsTest, NamesATransactionalIdThatMayNotBeUsed) {
  cluster_.Refuse(MockRequest::kInitProducerId,
                  {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED});
  const auto steps = Open();
  const auto step = Join(*steps);
  const Status status = RunUntil(*step, [] { return false; });
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(), HasSubstr("'step-1'"));
}

TEST_F(KafkaStepsTest, StopsWhereRetentionHasPassed) {
  Commit(0, 3);
  {
    const auto steps = Open();
    const auto step = Join(*steps);
    RunTo(*step, CountsEnd());
  }
  Commit(3, 5);
  Commit(5, 7);
  cluster_.DeleteBefore("counts", 1, 8);
  const auto steps = Open();
  const auto step = Join(*steps);
  const Status status = RunUntil(*step, [] { return false; });
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr(Where("counts", 1)));
}

}  // namespace
}  // namespace sightline::kafka
