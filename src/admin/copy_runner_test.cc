#include "admin/copy_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/mock_cluster.h"

namespace sightline {
namespace {

using kafka::Eventually;
using kafka::MockCluster;
using kafka::MockRequest;
using ::testing::HasSubstr;

// Records in memory. Each is one that cannot be decoded, and so it is copied as it is.
class Records final : public CopyInput {
 public:
  explicit Records(int64_t count) : count_(count) {}
  Status Seek(Offset next) override {
    next_ = next;
    return Status::Ok();
  }
  Result<CopyBatch> Poll(int64_t records_max) override {
    CopyBatch batch{
        .next = {std::min(count_, next_.v + records_max)}, .records = {}, .storage = nullptr};
    for (Offset at = next_; at < batch.next; ++at.v)
      batch.records.push_back({.offset = at,
                               .time = {at.v},
                               .key = "key",
                               .value = std::string_view(value_).substr(0, 5),
                               .has_value = true});
    next_ = batch.next;
    return batch;
  }
  Offset end() const override { return {count_}; }

 private:
  const int64_t count_;
  const std::string value_ = "wrong" + std::string(kDecodePadding, ' ');
  Offset next_;
};

class CopyRunnerTest : public testing::Test {
 protected:
  CopyRunnerTest() { cluster_.MakeTopic("raw", 1); }

  // Opens a copy of `count` records that ends with them, unless the test has put an answer there.
  CopyRunner::Open Open(int64_t count) {
    return [this, count](const std::atomic<bool>& stop) -> Result<std::unique_ptr<KafkaCopy>> {
      ++opened_;
      {
        const std::lock_guard lock(mutex_);
        if (!refusals_.empty()) {
          const Status refusal = refusals_.front();
          if (refusals_.size() > 1 || refusal.code() == StatusCode::kStop) refusals_.pop_front();
          return refusal;
        }
      }
      KafkaCopyOptions options{.kafka = cluster_.options(),
                               .to = to_,
                               .name = "rekey-to",
                               .offsets_topic = "raw",
                               .what = "raw by camera",
                               .commit_interval = {0},
                               .commit_records_max = 2};
      options.kafka.transaction_timeout = {1'000};
      auto copy = std::make_unique<KafkaCopy>(std::move(options), stop);
      if (const Status status = copy->Fence(); !status.ok()) return status;
      std::vector<std::unique_ptr<CopyInput>> inputs;
      inputs.push_back(std::make_unique<Records>(count));
      if (const Status status =
              copy->Begin(std::move(inputs), {from_}, std::vector<Offset>{{count}});
          !status.ok())
        return status;
      return copy;
    };
  }
  void RefuseToOpen(std::deque<Status> refusals) {
    const std::lock_guard lock(mutex_);
    refusals_ = std::move(refusals);
  }
  static bool Ended(const CopyRunner& runner) {
    return Eventually([&] { return runner.ended().has_value(); });
  }
  static std::string HealthOf(const CopyRunner& runner) {
    Health health;
    runner.ReportHealth(health);
    EXPECT_EQ(health.ok, health.reasons.empty());
    return health.ok ? "ok" : health.reasons.front();
  }
  static double MetricOf(const CopyRunner& runner, std::string_view name) {
    std::vector<Metric> metrics;
    runner.CollectMetrics(metrics);
    const auto found = std::ranges::find(metrics, name, &Metric::name);
    EXPECT_NE(found, metrics.end()) << name;
    return found == metrics.end() ? -1 : found->value;
  }

  MockCluster cluster_;
  const KafkaTopic to_ = cluster_.MakeTopic("to", 1);
  Offset from_{0};
  std::atomic<int> opened_ = 0;
  std::mutex mutex_;
  std::deque<Status> refusals_;  // under mutex_; the last one is repeated
};

TEST_F(CopyRunnerTest, EndsWhenEverythingIsCopied) {
  CopyRunner runner(Open(5));
  ASSERT_TRUE(Ended(runner));
  EXPECT_TRUE(runner.ended()->ok()) << runner.ended()->message();
  EXPECT_EQ(runner.stats().read, 5);
  EXPECT_EQ(cluster_.Values("to", 0).size(), 5);
  EXPECT_THAT(runner.Progress(), HasSubstr("5 records copied as 5"));
  EXPECT_EQ(runner.Progress(), "") << "nothing was copied since";
  EXPECT_EQ(MetricOf(runner, "sightline_copy_read_total"), 5);
  EXPECT_EQ(MetricOf(runner, "sightline_copy_lag"), 0);
}

TEST_F(CopyRunnerTest, OpensAgainUntilItCan) {
  RefuseToOpen({Status::Retry("the brokers are away"), Status::Rebuild("a newer copy has begun")});
  CopyRunner runner(Open(3));
  EXPECT_TRUE(Eventually([&] { return opened_ >= 3; }));
  EXPECT_EQ(runner.trouble(), "a newer copy has begun");
  EXPECT_EQ(HealthOf(runner), "the copy is not running: a newer copy has begun");
  EXPECT_EQ(MetricOf(runner, "sightline_copy_running"), 0);
  EXPECT_FALSE(runner.ended().has_value());
  RefuseToOpen({});
  ASSERT_TRUE(Ended(runner));
  EXPECT_TRUE(runner.ended()->ok()) << runner.ended()->message();
  EXPECT_EQ(cluster_.Values("to", 0).size(), 3);
}

TEST_F(CopyRunnerTest, EndsWithWhatAPersonMustMend) {
  RefuseToOpen({Status::Stop("the topic 'to' is not there")});
  CopyRunner runner(Open(3));
  ASSERT_TRUE(Ended(runner));
  EXPECT_EQ(runner.ended()->code(), StatusCode::kStop);
  EXPECT_EQ(runner.ended()->message(), "the topic 'to' is not there");
  MonitorReport report;
  runner.Sample(report);
  EXPECT_THAT(report.numbers, testing::Contains(testing::Pair("rebuilds", 1)));
}

// A copy that fails in the middle is thrown away; what it had committed stays in the sums.
TEST_F(CopyRunnerTest, SumsOutliveACopyThatFails) {
  cluster_.Refuse(MockRequest::kEndTransaction,
                  {RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NO_ERROR,
                   RD_KAFKA_RESP_ERR_INVALID_TXN_STATE});
  from_ = {2};
  CopyRunner runner(Open(6));
  ASSERT_TRUE(Ended(runner));
  EXPECT_TRUE(runner.ended()->ok()) << runner.ended()->message();
  EXPECT_EQ(opened_, 2);
  // The first copy commits [2, 4); the second begins at 2 again, as its test tells it.
  EXPECT_EQ(runner.stats().read, 2 + 4);
}

TEST_F(CopyRunnerTest, EndsWhenAnotherCopyHasBegun) {
  cluster_.Refuse(MockRequest::kEndTransaction,
                  {RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_PRODUCER_FENCED});
  CopyRunner runner(Open(6));
  ASSERT_TRUE(Ended(runner));
  EXPECT_EQ(runner.ended()->code(), StatusCode::kStop);
  EXPECT_THAT(runner.ended()->message(), HasSubstr("let only one run"));
}

TEST_F(CopyRunnerTest, IsDestroyedWhileItWaits) {
  RefuseToOpen({Status::Retry("the brokers are away")});
  CopyRunner runner(Open(3));
  EXPECT_TRUE(Eventually([&] { return opened_ >= 1; }));
  EXPECT_FALSE(runner.ended().has_value());
}

}  // namespace
}  // namespace sightline
