#include "connectors/kafka/transaction_worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/mock_cluster.h"

namespace sightline::kafka {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kTopic = "counts";
constexpr const char* kId = "deployment-source-0";
constexpr const char* kPlace = "place";  // the key of what a fence looks for

Finder FindPlace() {
  return [](const rd_kafka_message_t& message) -> std::optional<std::string> {
    if (std::string_view(static_cast<const char*>(message.key), message.key_len) != kPlace)
      return std::nullopt;
    return std::string(static_cast<const char*>(message.payload), message.len);
  };
}

Message Row(const std::string& value) {
  return {.topic = kTopic, .key = "row", .value = value, .headers = {}};
}
Message Place(const std::string& value) {
  return {.topic = kTopic, .key = kPlace, .value = value, .headers = {{"said", value}}};
}

// What a cluster would report about hanging transactions.
struct Cluster {
  std::mutex mutex;
  std::optional<Status> failure;                               // under mutex
  HangingCheck::OpenRange now = {.last_stable = 0, .end = 0};  // under mutex
  std::atomic<int> asked = 0;

  void Set(int64_t begin, int64_t end) {
    const std::lock_guard lock(mutex);
    now = {begin, end};
    failure.reset();
  }
  void Fail(Status status) {
    const std::lock_guard lock(mutex);
    failure = std::move(status);
  }
  HangingCheck Check() {
    return {.settle_time = {1},
            .after = {1},
            .again = Millis{1},
            .read_open_range = [this]() -> Result<HangingCheck::OpenRange> {
              ++asked;
              const std::lock_guard lock(mutex);
              if (failure) return *failure;
              return now;
            }};
  }
};

class Worker {
 public:
  struct Setup {
    int32_t partition = 0;
    Millis repeat_interval{};
    std::function<bool(const rd_kafka_message_t&)> is_own = nullptr;
    HangingCheck hanging_check = {};
  };
  explicit Worker(const MockCluster& cluster) : Worker(cluster.options(), Setup{}) {}
  Worker(KafkaOptions options, Setup setup)
      : worker_(std::make_unique<TransactionWorker>(
            std::move(options), kId, kTopic, setup.partition, FindPlace(), [this] { ++answers_; },
            setup.repeat_interval, std::move(setup.is_own), std::move(setup.hanging_check))) {}

  AsyncAnswerPtr<Answer> Submit(std::vector<Message> messages) {
    return worker_->Submit(std::move(messages));
  }
  static Answer WaitFor(AsyncAnswerPtr<Answer> asked) {
    std::optional<Answer> answer;
    EXPECT_TRUE(Eventually([&] { return (answer = TakeFinished(asked)).has_value(); }));
    return answer.value_or(Answer{.status = Status::Retry("there is no answer")});
  }
  Answer Fence() { return WaitFor(Submit({Place("")})); }
  Status Commit(std::vector<Message> messages) {
    return WaitFor(Submit(std::move(messages))).status;
  }

  TransactionWorker& worker() { return *worker_; }
  int answers() const { return answers_.load(); }

 private:
  std::atomic<int> answers_ = 0;
  std::unique_ptr<TransactionWorker> worker_;
};

class TransactionWorkerTest : public testing::Test {
 protected:
  TransactionWorkerTest() { cluster_.MakeTopic(kTopic, 2); }
  // A worker that has fenced.
  std::unique_ptr<Worker> Owner() { return Owner({}); }
  std::unique_ptr<Worker> Owner(Worker::Setup setup) {
    auto worker = std::make_unique<Worker>(Options(), std::move(setup));
    const Status fenced = worker->Fence().status;
    EXPECT_TRUE(fenced.ok()) << fenced.message();
    return worker;
  }
  // Transactions and their messages time out soon.
  KafkaOptions Options() const {
    KafkaOptions options = cluster_.options();
    options.transaction_timeout = {1'000};
    return options;
  }
  std::vector<std::string> Written(int32_t partition = 0) const {
    return cluster_.Values(kTopic, partition);
  }

  MockCluster cluster_{2};
};

TEST_F(TransactionWorkerTest, FindsNothingInAnEmptyTopic) {
  Worker worker(cluster_);
  const Answer answer = worker.Fence();
  EXPECT_TRUE(answer.status.ok()) << answer.status.message();
  EXPECT_EQ(answer.found, std::nullopt);
  EXPECT_TRUE(Eventually([&] { return worker.answers() == 1; }));
}

TEST_F(TransactionWorkerTest, NamesATopicThatHasTooFewPartitions) {
  Worker worker(Options(), {.partition = 7});
  const std::string said = worker.Fence().status.message();
  EXPECT_THAT(said, HasSubstr(kTopic));
  EXPECT_THAT(said, HasSubstr("7"));
  EXPECT_THAT(said, HasSubstr("too few partitions"));
  EXPECT_THAT(said, HasSubstr("sightline topics check"));
}

TEST_F(TransactionWorkerTest, CommitsInOrderAndWithHeaders) {
  const auto worker = Owner();
  EXPECT_TRUE(worker->Commit({Row("a"), Row("b"), Place("1")}).ok());
  EXPECT_TRUE(worker->Commit({Row("c"), Place("2")}).ok());
  EXPECT_TRUE(Eventually([&] { return worker->answers() == 3; }));
  EXPECT_THAT(Written(), ElementsAre("a", "b", "1", "c", "2"));
  EXPECT_THAT(Written(1), ElementsAre());
  EXPECT_EQ(cluster_.Read(kTopic, 0).back().headers.at("said"), "2");
}

TEST_F(TransactionWorkerTest, AllMessagesGoToItsPartition) {
  const auto worker = Owner({.partition = 1});
  EXPECT_TRUE(worker->Commit({Row("a"), Place("1")}).ok());
  EXPECT_THAT(Written(0), ElementsAre());
  EXPECT_THAT(Written(1), ElementsAre("a", "1"));
}

TEST_F(TransactionWorkerTest, ANewOwnerFindsTheNewestPlace) {
  EXPECT_TRUE(Owner()->Commit({Row("a"), Place("1")}).ok());
  EXPECT_TRUE(Owner()->Commit({Row("b"), Place("2")}).ok());
  // Another source's, in the same partition: more than one look backwards.
  cluster_.Write(kTopic, 0, std::vector<std::optional<std::string>>(1'500, "another's"), "another");
  EXPECT_EQ(Worker(cluster_).Fence().found, "2");
}

TEST_F(TransactionWorkerTest, RetriableErrorsAreRetried) {
  cluster_.Refuse(MockRequest::kInitProducerId, {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                                 RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS});
  const auto worker = Owner();
  cluster_.Refuse(MockRequest::kAddPartitions, {RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS});
  cluster_.Refuse(MockRequest::kProduce, {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS});
  cluster_.Refuse(MockRequest::kEndTransaction, {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                                 RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE});
  const Status status = worker->Commit({Row("a"), Place("1")});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_THAT(Written(), ElementsAre("a", "1"));
}

TEST_F(TransactionWorkerTest, RetriesWhenAnAnswerIsLost) {
  const auto worker = Owner();
  cluster_.Refuse(MockRequest::kEndTransaction, {RD_KAFKA_RESP_ERR__TRANSPORT});
  EXPECT_TRUE(worker->Commit({Row("a"), Place("1")}).ok());
  EXPECT_THAT(Written(), ElementsAre("a", "1"));
}

TEST_F(TransactionWorkerTest, FollowsTheCoordinator) {
  cluster_.MoveCoordinator(kId, 1);
  const auto worker = Owner();
  EXPECT_TRUE(worker->Commit({Row("a"), Place("1")}).ok());
  cluster_.MoveCoordinator(kId, 2);
  EXPECT_TRUE(worker->Commit({Row("b"), Place("2")}).ok());
  EXPECT_THAT(Written(), ElementsAre("a", "1", "b", "2"));
}

// Requests whose answers show that a newer owner has fenced this one.
struct Fencing {
  MockRequest request;
  rd_kafka_resp_err_t error;
};
class TransactionWorkerFenced : public TransactionWorkerTest,
                                public testing::WithParamInterface<Fencing> {};

TEST_P(TransactionWorkerFenced, ReportsThatANewerTaskIsTheOwner) {
  const auto worker = Owner();
  cluster_.Refuse(GetParam().request, {GetParam().error});
  const Status status = worker->Commit({Row("a"), Place("1")});
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(), HasSubstr("a newer task owns the counts of this partition"));
  // And again.
  EXPECT_EQ(worker->Commit({Row("b"), Place("2")}).code(), StatusCode::kRebuild);
  EXPECT_THAT(Written(), testing::Not(testing::Contains("b")));
}

INSTANTIATE_TEST_SUITE_P(
    Requests, TransactionWorkerFenced,
    testing::Values(Fencing{MockRequest::kAddPartitions, RD_KAFKA_RESP_ERR_PRODUCER_FENCED},
                    Fencing{MockRequest::kAddPartitions, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH},
                    Fencing{MockRequest::kEndTransaction, RD_KAFKA_RESP_ERR_PRODUCER_FENCED},
                    Fencing{MockRequest::kEndTransaction,
                            RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH}));

// After a refusal nothing is committed, and the message says where and why.
struct Refusal {
  MockRequest request;
  rd_kafka_resp_err_t error;
};
class TransactionWorkerRefused : public TransactionWorkerTest,
                                 public testing::WithParamInterface<Refusal> {};

TEST_P(TransactionWorkerRefused, IsRebuiltAndReportsWhy) {
  const auto worker = Owner();
  cluster_.Refuse(GetParam().request, {GetParam().error});
  const Status status = worker->Commit({Row("a"), Place("1")});
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(), HasSubstr("committing"));
  if (GetParam().request == MockRequest::kProduce) {
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr(Where(kTopic, 0)), HasSubstr(ErrorText(GetParam().error))));
  }
  EXPECT_THAT(Written(), ElementsAre());
  // The next owner begins where nothing was written.
  const auto next = Owner();
  EXPECT_TRUE(next->Commit({Row("a"), Place("1")}).ok());
  EXPECT_THAT(Written(), ElementsAre("a", "1"));
}

INSTANTIATE_TEST_SUITE_P(
    Requests, TransactionWorkerRefused,
    testing::Values(
        Refusal{MockRequest::kProduce, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED},
        Refusal{MockRequest::kProduce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE},
        Refusal{MockRequest::kProduce, RD_KAFKA_RESP_ERR_INVALID_RECORD},
        Refusal{MockRequest::kProduce, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER},
        Refusal{MockRequest::kAddPartitions, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED},
        Refusal{MockRequest::kAddPartitions, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING}));

TEST_F(TransactionWorkerTest, NamesATransactionalIdThatMayNotBeUsed) {
  cluster_.Refuse(MockRequest::kInitProducerId,
                  {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED});
  Worker worker(cluster_);
  const Status status = worker.Fence().status;
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("fencing '" + std::string(kId) + "'"),
                                      HasSubstr("authorization failed")));
}

TEST_F(TransactionWorkerTest, AMessageThatIsTooLargeForAnyBroker) {
  const auto worker = Owner();
  const Status status = worker->Commit({Row(std::string(kKafkaMessageBytesMax + 1, 'a'))});
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(Where(kTopic, 0)), HasSubstr("too large")));
}

TEST_F(TransactionWorkerTest, AnUnknownOutcomeIsLeftToANewOwner) {
  {
    const auto worker = Owner();
    EXPECT_TRUE(worker->Commit({Row("a"), Place("1")}).ok());
    cluster_.StopBroker();
    EXPECT_EQ(worker->Commit({Row("b"), Place("2")}).code(), StatusCode::kRebuild);
  }
  cluster_.StartBroker();
  Worker next(cluster_);
  EXPECT_EQ(next.Fence().found, "1");
  EXPECT_TRUE(next.Commit({Row("b"), Place("2")}).ok());
  EXPECT_THAT(Written(), ElementsAre("a", "1", "b", "2"));
}

TEST_F(TransactionWorkerTest, CloseEndsTheThread) {
  cluster_.StopBroker();
  Worker worker(cluster_);
  const auto answer = worker.Submit({Place("")});
  worker.worker().Close();
  EXPECT_TRUE(Eventually([&] { return worker.worker().ended(); }));
  EXPECT_EQ(worker.answers(), 0);
}

TEST_F(TransactionWorkerTest, RetiredWorkersAreJoined) {
  cluster_.StopBroker();
  RetiredWorkers retired;
  for (int i = 0; i < 3; ++i) {
    auto worker = std::make_unique<TransactionWorker>(
        cluster_.options(), kId, kTopic, 0, FindPlace(), [] { FAIL() << "it was retired"; });
    worker->Submit({});
    retired.Retire(std::move(worker));
  }
}

TEST_F(TransactionWorkerTest, RepeatsTheLastRecordWhenNothingFollows) {
  const auto worker = Owner({.repeat_interval = {1}});
  EXPECT_TRUE(worker->Commit({Row("a"), Place("1")}).ok());
  EXPECT_TRUE(Eventually([&] { return cluster_.Asked(MockRequest::kEndTransaction) >= 3; }));
  // A failed repeat is aborted, and does not stand in the way of the next commit.
  cluster_.Refuse(MockRequest::kProduce, {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED});
  const int64_t before = cluster_.Asked(MockRequest::kEndTransaction);
  EXPECT_TRUE(
      Eventually([&] { return cluster_.Asked(MockRequest::kEndTransaction) >= before + 3; }));
  EXPECT_TRUE(worker->Commit({Row("b"), Place("2")}).ok());
  const std::vector<MockRecord> records = cluster_.Read(kTopic, 0);
  ASSERT_GE(records.size(), 4);
  EXPECT_EQ(records[0].value, "a");
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(records[i].key, kPlace);
    EXPECT_EQ(records[i].value, "1");
    EXPECT_EQ(records[i].headers.at("said"), "1");
  }
}

// A broker that slept can have seen more, or less, of a repeat than its producer knows. It refuses
// the abort then, and the producer can do nothing more.
TEST_F(TransactionWorkerTest, RepeatsWithANewProducerWhenTheOldOneIsOfNoUse) {
  const auto worker = Owner({.repeat_interval = {1}});
  EXPECT_TRUE(worker->Commit({Row("a"), Place("1")}).ok());
  cluster_.Refuse(MockRequest::kEndTransaction, {RD_KAFKA_RESP_ERR_INVALID_TXN_STATE});
  const int64_t fences = cluster_.Asked(MockRequest::kInitProducerId);
  EXPECT_TRUE(Eventually([&] { return cluster_.Asked(MockRequest::kInitProducerId) > fences; }));
  const int64_t before = cluster_.Asked(MockRequest::kEndTransaction);
  EXPECT_TRUE(
      Eventually([&] { return cluster_.Asked(MockRequest::kEndTransaction) >= before + 3; }));
  EXPECT_TRUE(worker->Commit({Row("b"), Place("2")}).ok());
  EXPECT_THAT(Written(), testing::Contains("b"));
}

TEST_F(TransactionWorkerTest, DoesNotRepeatWhatIsNotTheNewestAnyMore) {
  const auto worker = Owner({.repeat_interval = {500}});
  EXPECT_TRUE(worker->Commit({Row("a"), Place("1")}).ok());
  cluster_.Refuse(MockRequest::kEndTransaction, {RD_KAFKA_RESP_ERR_INVALID_TXN_STATE});
  const int64_t fences = cluster_.Asked(MockRequest::kInitProducerId);
  const int64_t ends = cluster_.Asked(MockRequest::kEndTransaction);
  EXPECT_TRUE(Eventually([&] { return cluster_.Asked(MockRequest::kEndTransaction) > ends; }));
  // Another task has committed before this one has its new producer.
  cluster_.Write(kTopic, 0, {"2"}, kPlace);
  EXPECT_TRUE(Eventually([&] { return cluster_.Asked(MockRequest::kInitProducerId) > fences; }));
  EXPECT_EQ(worker->Commit({Row("b"), Place("2")}).code(), StatusCode::kRebuild);
  EXPECT_THAT(Written(), testing::Not(testing::Contains("b")));
}

TEST_F(TransactionWorkerTest, RepeatsWhatTheFenceFound) {
  EXPECT_TRUE(Owner()->Commit({Row("a"), Place("1")}).ok());
  const auto worker = Owner({.repeat_interval = {1}});
  EXPECT_TRUE(Eventually([&] { return cluster_.Asked(MockRequest::kEndTransaction) >= 3; }));
  worker->worker().Close();
  EXPECT_TRUE(Eventually([&] { return worker->worker().ended(); }));
  const std::vector<std::string> written = Written();
  ASSERT_GE(written.size(), 3);
  EXPECT_EQ(written[2], "1");
}

class HangingTransaction : public TransactionWorkerTest {
 protected:
  Worker::Setup Checked() { return {.is_own = IsOwn(), .hanging_check = cluster_says_.Check()}; }
  static std::function<bool(const rd_kafka_message_t&)> IsOwn() {
    return [](const rd_kafka_message_t& message) {
      return std::string_view(static_cast<const char*>(message.key), message.key_len) != "another";
    };
  }
  int64_t Commits() const { return cluster_.Asked(MockRequest::kEndTransaction); }

  Cluster cluster_says_;
};

TEST_F(HangingTransaction, TheFenceCommitsAWholeTransactionAgain) {
  EXPECT_TRUE(Owner()->Commit({Row("a"), Place("1")}).ok());
  cluster_says_.Set(0, 3);
  Worker worker(Options(), Checked());
  EXPECT_EQ(worker.Fence().found, "1");
  EXPECT_THAT(Written(), ElementsAre("a", "1", "1"));
  EXPECT_EQ(Commits(), 2);
}

TEST_F(HangingTransaction, TheFenceAbortsAPartialTransaction) {
  EXPECT_TRUE(Owner()->Commit({Row("a"), Place("1")}).ok());
  EXPECT_TRUE(Owner()->Commit({Row("b")}).ok());
  cluster_says_.Set(3, 5);  // the second
  Worker worker(Options(), Checked());
  EXPECT_EQ(worker.Fence().found, "1");
  const std::vector<MockRecord> records = cluster_.Read(kTopic, 0);
  ASSERT_EQ(records.size(), 4);
  EXPECT_EQ(records.back().key, kId) << "a record for which no fence searches";
  EXPECT_TRUE(worker.Commit({Row("b"), Place("2")}).ok());
}

TEST_F(HangingTransaction, TheFenceLeavesTransactionsOfOtherIdsAlone) {
  cluster_.Write(kTopic, 0, {"x"}, "another");
  EXPECT_TRUE(Owner()->Commit({Row("a"), Place("1")}).ok());
  cluster_says_.Set(0, 4);
  Worker worker(Options(), Checked());
  EXPECT_TRUE(worker.Fence().status.ok());
  EXPECT_EQ(Commits(), 1);
  EXPECT_THAT(Written(), ElementsAre("x", "a", "1"));
}

TEST_F(HangingTransaction, WithoutIsOwnTheFenceAborts) {
  EXPECT_TRUE(Owner()->Commit({Row("a"), Place("1")}).ok());
  cluster_says_.Set(0, 3);
  Worker worker(Options(), {.hanging_check = cluster_says_.Check()});
  EXPECT_TRUE(worker.Fence().status.ok());
  const std::vector<MockRecord> records = cluster_.Read(kTopic, 0);
  ASSERT_EQ(records.size(), 3);
  EXPECT_EQ(records.back().key, kId);
}

TEST_F(HangingTransaction, TheFenceWaitsForALateEndMarker) {
  EXPECT_TRUE(Owner()->Commit({Row("a"), Place("1")}).ok());
  cluster_says_.Set(0, 3);
  HangingCheck check = cluster_says_.Check();
  check.settle_time = {60'000};
  Worker worker(Options(), {.is_own = IsOwn(), .hanging_check = std::move(check)});
  AsyncAnswerPtr<Answer> answer = worker.Submit({Place("")});
  EXPECT_TRUE(Eventually([&] { return cluster_says_.asked >= 2; }));
  EXPECT_FALSE(TakeFinished(answer).has_value());
  cluster_says_.Set(3, 3);
  EXPECT_TRUE(Worker::WaitFor(std::move(answer)).status.ok());
  EXPECT_EQ(Commits(), 1) << "no other transaction was written";
}

TEST_F(HangingTransaction, TheFenceFailsWithoutAnAnswer) {
  cluster_says_.Fail(Status::Retry("no answer"));
  Worker worker(Options(), Checked());
  const Status status = worker.Fence().status;
  EXPECT_EQ(status.code(), StatusCode::kRetry);
  EXPECT_EQ(status.message(), "no answer");
}

TEST_F(HangingTransaction, CommitsItsLastRecordAgain) {
  Worker worker(
      Options(),
      {.repeat_interval = {3'600'000}, .is_own = IsOwn(), .hanging_check = cluster_says_.Check()});
  EXPECT_TRUE(worker.Fence().status.ok());
  cluster_says_.Set(0, 3);
  EXPECT_TRUE(worker.Commit({Row("a"), Place("1")}).ok());
  EXPECT_TRUE(Eventually([&] { return Commits() == 2; }));
  EXPECT_THAT(Written(), ElementsAre("a", "1", "1"));
  EXPECT_FALSE(worker.worker().has_hanging_transaction());
  EXPECT_TRUE(worker.Commit({Row("b"), Place("2")}).ok());
}

TEST_F(HangingTransaction, LeavesWhatItCannotRepeatToANewOwner) {
  Worker worker(Options(), Checked());
  EXPECT_TRUE(worker.Fence().status.ok());
  cluster_says_.Set(0, 3);
  EXPECT_TRUE(worker.Commit({Row("a"), Place("1")}).ok());
  EXPECT_TRUE(Eventually([&] { return worker.worker().has_hanging_transaction(); }));
  EXPECT_TRUE(Eventually([&] { return worker.answers() == 3; })) << "the task is woken";
  const Status status = worker.Commit({Row("b"), Place("2")});
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr(Where(kTopic, 0)), HasSubstr("the newest transaction is hanging")));
  EXPECT_EQ(Commits(), 1);
}

TEST_F(HangingTransaction, AMovingLastStableOffsetIsNotSuspect) {
  std::atomic<int64_t> begin = 0;
  HangingCheck check = cluster_says_.Check();
  // A different transaction of another producer is open at each check.
  check.read_open_range = [&]() -> Result<HangingCheck::OpenRange> {
    ++cluster_says_.asked;
    const int64_t at = begin++;
    return HangingCheck::OpenRange{at, at == 0 ? 0 : at + 1};
  };
  Worker worker(Options(), {.hanging_check = check});
  EXPECT_TRUE(worker.Fence().status.ok());
  EXPECT_TRUE(worker.Commit({Row("a"), Place("1")}).ok());
  EXPECT_TRUE(Eventually([&] { return cluster_says_.asked >= 20; }));
  EXPECT_FALSE(worker.worker().has_hanging_transaction());
  EXPECT_EQ(Commits(), 1);
}

TEST_F(HangingTransaction, ChecksAgainWhenTheClusterDoesNotAnswer) {
  Worker worker(Options(), Checked());
  EXPECT_TRUE(worker.Fence().status.ok());
  cluster_says_.Fail(Status::Retry("no answer"));
  const int before = cluster_says_.asked;
  EXPECT_TRUE(worker.Commit({Row("a"), Place("1")}).ok());
  EXPECT_TRUE(Eventually([&] { return cluster_says_.asked >= before + 3; }));
  EXPECT_FALSE(worker.worker().has_hanging_transaction());
}

}  // namespace
}  // namespace sightline::kafka
