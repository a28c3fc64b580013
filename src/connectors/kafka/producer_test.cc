#include "connectors/kafka/producer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/mock_cluster.h"

namespace sightline::kafka {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class KafkaProducerTest : public testing::Test {
 protected:
  KafkaProducerTest() { cluster_.MakeTopic("raw", 2); }

  std::unique_ptr<KafkaProducer> Open(KafkaProducerOptions options = {}) {
    options.kafka = cluster_.options();
    return std::move(KafkaProducer::Open(options)).value();
  }
  static KafkaProducer::Part Part(int32_t partition, const std::vector<std::string>& values) {
    KafkaProducer::Part part{.topic = "raw", .partition = partition, .records = {}};
    for (const std::string& value : values) part.records.push_back({.key = "k", .value = value});
    return part;
  }
  static Status Append(KafkaProducer& producer, const std::vector<KafkaProducer::Part>& parts) {
    std::promise<Status> done;
    EXPECT_TRUE(producer.Append(parts, [&](Status status) { done.set_value(std::move(status)); }));
    return done.get_future().get();
  }

  MockCluster cluster_;
};

TEST_F(KafkaProducerTest, WritesInOrderAndWithKeys) {
  const auto producer = Open();
  EXPECT_TRUE(Append(*producer, {Part(0, {"a", "b"}), Part(1, {"c"})}).ok());
  EXPECT_TRUE(Append(*producer, {Part(0, {"d"})}).ok());
  EXPECT_EQ(producer->bytes(), 0);
  EXPECT_THAT(cluster_.Values("raw", 0), ElementsAre("a", "b", "d"));
  EXPECT_THAT(cluster_.Values("raw", 1), ElementsAre("c"));
  EXPECT_EQ(cluster_.Read("raw", 1)[0].key, "k");
}

TEST_F(KafkaProducerTest, AnEmptyAppendIsAnsweredAtOnce) {
  const auto producer = Open();
  EXPECT_TRUE(Append(*producer, {}).ok());
  EXPECT_TRUE(Append(*producer, {Part(0, {})}).ok());
}

// The caller may hold a lock that `done` takes.
TEST_F(KafkaProducerTest, NeverAnswersWithinTheCall) {
  const auto producer = Open();
  const std::vector<std::string> large = {std::string(kKafkaMessageBytesMax + 1, 'a')};
  const std::vector<std::string> a = {"a"}, b = {"b"};  // a Part has views of them
  const std::vector<std::vector<KafkaProducer::Part>> all = {
      {}, {Part(0, {})}, {Part(0, large)}, {Part(0, a), Part(1, b)}};
  std::mutex mutex;
  int answers = 0, asked = 0;
  const auto done = [&](const Status&) {
    const std::lock_guard lock(mutex);
    ++answers;
  };
  for (int i = 0; i < 100; ++i) {
    const std::lock_guard lock(mutex);
    for (const std::vector<KafkaProducer::Part>& parts : all)
      asked += producer->Append(parts, done) ? 1 : 0;
    producer->Refuse(Status::Retry("no topic"), done);
    ++asked;
  }
  EXPECT_TRUE(Eventually([&] {
    const std::lock_guard lock(mutex);
    return answers == asked;
  }));
  EXPECT_EQ(producer->bytes(), 0);
}

TEST_F(KafkaProducerTest, AnEmptyAppendDoesNotWaitForAPoll) {
  const auto producer = Open();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Append(*producer, {}).ok());
  // A poll takes 100 ms if nothing ends it.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(KafkaProducerTest, DestructionGivesTheAnswersThatAreLeft) {
  std::atomic<int> done = 0;
  for (int i = 0; i < 20; ++i) {
    const auto producer = Open();
    producer->Refuse(Status::Retry("no topic"), [&](const Status& status) {
      EXPECT_EQ(status.message(), "no topic");
      ++done;
    });
  }
  EXPECT_EQ(done, 20);
}

TEST_F(KafkaProducerTest, CopiesTheRecords) {
  cluster_.StopBroker();
  const auto producer = Open();
  std::promise<Status> done;
  {
    const std::string value(1'000, 'a');
    ASSERT_TRUE(producer->Append({Part(0, {value})}, [&](Status s) { done.set_value(s); }));
  }
  EXPECT_GE(producer->bytes(), 1'000);
  cluster_.StartBroker();
  EXPECT_TRUE(done.get_future().get().ok());
  EXPECT_THAT(cluster_.Values("raw", 0), ElementsAre(std::string(1'000, 'a')));
}

TEST_F(KafkaProducerTest, AcceptsNoMoreThanItsBound) {
  cluster_.StopBroker();
  const auto producer = Open({.bytes_max = 2'000});
  std::atomic<int> done = 0;
  const auto count = [&](const Status& status) {
    EXPECT_TRUE(status.ok()) << status.message();
    ++done;
  };
  // A larger append is accepted when nothing else is in flight.
  ASSERT_TRUE(producer->Append({Part(0, {std::string(5'000, 'a')})}, count));
  const int64_t before = producer->bytes();
  EXPECT_FALSE(producer->Append({Part(0, {"b"})}, [](Status) { FAIL() << "it was refused"; }));
  EXPECT_EQ(producer->bytes(), before);
  cluster_.StartBroker();
  EXPECT_TRUE(Eventually([&] { return done == 1; }));
  ASSERT_TRUE(producer->Append({Part(0, {"c"})}, count));
  EXPECT_TRUE(Eventually([&] { return done == 2; }));
  const std::vector<std::string> written = cluster_.Values("raw", 0);
  ASSERT_EQ(written.size(), 2);
  EXPECT_EQ(written[1], "c");
}

TEST_F(KafkaProducerTest, AnInternalRetryAddsNothing) {
  const auto producer = Open();
  cluster_.Refuse(MockRequest::kProduce,
                  {RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS});
  EXPECT_TRUE(Append(*producer, {Part(0, {"a", "b"})}).ok());
  EXPECT_THAT(cluster_.Values("raw", 0), ElementsAre("a", "b"));
}

TEST_F(KafkaProducerTest, ReportsWhereAndWhyARecordWasRefused) {
  const auto producer = Open();
  cluster_.RefusePartition("raw", 1, MockRequest::kProduce,
                           RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  const Status status = Append(*producer, {Part(0, {"a"}), Part(1, {"b"})});
  EXPECT_EQ(status.code(), StatusCode::kRetry);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(Where("raw", 1)), HasSubstr("authorization")));
  EXPECT_EQ(producer->bytes(), 0);
  // All of them again.
  EXPECT_TRUE(Eventually([&] { return Append(*producer, {Part(1, {"b"})}).ok(); }));
  EXPECT_THAT(cluster_.Values("raw", 1), ElementsAre("b"));
}

TEST_F(KafkaProducerTest, ARecordThatIsTooLargeIsNotSent) {
  const auto producer = Open();
  const std::string large(kKafkaMessageBytesMax + 1, 'a');
  const Status status = Append(*producer, {Part(0, {large, "b"})});
  EXPECT_EQ(status.code(), StatusCode::kRetry);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(Where("raw", 0)), HasSubstr("too large")));
}

// Fatal errors: librdkafka's client sends nothing after them.
class KafkaProducerFatal : public KafkaProducerTest,
                           public testing::WithParamInterface<std::pair<MockRequest, int>> {};

TEST_P(KafkaProducerFatal, StartsANewClient) {
  cluster_.Refuse(GetParam().first, {static_cast<rd_kafka_resp_err_t>(GetParam().second)});
  const auto producer = Open();
  const Status status = Append(*producer, {Part(0, {"a"})});
  EXPECT_EQ(status.code(), StatusCode::kRetry);
  EXPECT_TRUE(Eventually([&] { return Append(*producer, {Part(0, {"b"})}).ok(); }));
  EXPECT_EQ(producer->bytes(), 0);
  EXPECT_THAT(cluster_.Values("raw", 0), ElementsAre("b"));
}

INSTANTIATE_TEST_SUITE_P(Errors, KafkaProducerFatal,
                         testing::Values(std::pair(MockRequest::kInitProducerId,
                                                   RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED),
                                         std::pair(MockRequest::kProduce,
                                                   RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH)));

TEST_F(KafkaProducerTest, GivesUpAfterItsTimeout) {
  cluster_.StopBroker();
  const auto producer = Open({.delivery_timeout = {100}});
  const Status status = Append(*producer, {Part(0, {"a"})});
  EXPECT_EQ(status.code(), StatusCode::kRetry);
  EXPECT_THAT(status.message(), HasSubstr(Where("raw", 0)));
}

TEST_F(KafkaProducerTest, DestructionAnswersUnacknowledgedRecords) {
  cluster_.StopBroker();
  auto producer = Open();
  std::atomic<int> done = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(producer->Append({Part(0, {"a"}), Part(1, {"b"})}, [&](const Status& status) {
      EXPECT_EQ(status.code(), StatusCode::kRetry);
      ++done;
    }));
  }
  producer = nullptr;
  EXPECT_EQ(done, 3);
}

}  // namespace
}  // namespace sightline::kafka
