#include "connectors/kafka/copy.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "connectors/kafka/mock_cluster.h"
#include "operators/decode.h"

namespace sightline::kafka {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// A partition in memory, which a test can make fail.
struct Log {
  struct Record {
    AppendTime time;
    std::string value;  // and kDecodePadding bytes
  };
  std::deque<Record> records;
  std::optional<Status> seek_answer, poll_answer;

  // A detection of a camera, with an id to know it by.
  void Append(int64_t time_ms, int64_t camera, int64_t id) {
    records.push_back({{time_ms}, Value(camera, id)});
    records.back().value += std::string(kDecodePadding, ' ');
  }
  static std::string Value(int64_t camera, int64_t id) {
    return fmt::format(R"({{"geographical_location_oid":1,"video_camera_oid":{},)"
                       R"("detection_oid":{},"item_name":"cup","timestamp_detected":1}})",
                       camera, id);
  }
};

class LogInput final : public CopyInput {
 public:
  explicit LogInput(const Log* log) : log_(*log) {}
  Status Seek(Offset next) override {
    if (log_.seek_answer) return *log_.seek_answer;
    next_ = next;
    return Status::Ok();
  }
  Result<CopyBatch> Poll(int64_t records_max) override {
    if (log_.poll_answer) return *log_.poll_answer;
    CopyBatch batch{
        .next = std::min(end(), Offset{next_.v + records_max}), .records = {}, .storage = nullptr};
    for (Offset at = next_; at < batch.next; ++at.v) {
      const Log::Record& record = log_.records[static_cast<size_t>(at.v)];
      batch.records.push_back(
          {.offset = at,
           .time = record.time,
           .key = "old",
           .value = std::string_view(record.value).substr(0, record.value.size() - kDecodePadding),
           .has_value = true});
    }
    next_ = batch.next;
    return batch;
  }
  Offset end() const override { return {std::ssize(log_.records)}; }

 private:
  const Log& log_;
  Offset next_;
};

class KafkaCopyTest : public testing::Test {
 protected:
  KafkaCopyTest() { cluster_.MakeTopic("raw", 2); }

  KafkaCopyOptions Options() const {
    KafkaCopyOptions options{.kafka = cluster_.options(),
                             .to = to_,
                             .name = "rekey-to",
                             .offsets_topic = "raw",
                             .what = "raw by camera",
                             .commit_interval = {0}};
    options.kafka.transaction_timeout = {1'000};
    return options;
  }
  std::unique_ptr<KafkaCopy> Fenced(KafkaCopyOptions options) {
    auto copy = std::make_unique<KafkaCopy>(std::move(options), stop_);
    const Status status = copy->Fence();
    EXPECT_TRUE(status.ok()) << status.message();
    return copy;
  }
  std::vector<std::unique_ptr<CopyInput>> Inputs() const {
    std::vector<std::unique_ptr<CopyInput>> inputs;
    for (const Log& log : logs_) inputs.push_back(std::make_unique<LogInput>(&log));
    return inputs;
  }
  std::vector<Offset> Ends() const {
    return {{std::ssize(logs_[0].records)}, {std::ssize(logs_[1].records)}};
  }
  std::unique_ptr<KafkaCopy> Begun(KafkaCopyOptions options, const std::vector<Offset>& from,
                                   std::optional<std::vector<Offset>> until) {
    auto copy = Fenced(std::move(options));
    const Status status = copy->Begin(Inputs(), from, std::move(until));
    EXPECT_TRUE(status.ok()) << status.message();
    return copy;
  }
  // Until nothing can be done by that time.
  static Status Run(KafkaCopy& copy, int64_t now_ms) {
    Status status = Status::Ok();
    while (status.ok()) status = copy.Step(now_ms);
    return status;
  }
  static void RunIdle(KafkaCopy& copy, int64_t now_ms) {
    EXPECT_EQ(Run(copy, now_ms).code(), StatusCode::kRetry);
  }
  // The ids of what was written, in order.
  std::vector<int64_t> Written() const {
    std::vector<int64_t> ids;
    for (const std::string& value : cluster_.Values("to", 0)) {
      const std::string name = "\"detection_oid\":";
      ids.push_back(std::stoll(value.substr(value.find(name) + name.size())));
    }
    return ids;
  }

  MockCluster cluster_;
  const KafkaTopic to_ = cluster_.MakeTopic("to", 1);
  std::atomic<bool> stop_ = false;
  std::array<Log, 2> logs_;
};

TEST_F(KafkaCopyTest, CopiesInOrderOfAppendTimeAndUnderNewKeys) {
  logs_[0].Append(10, 7, 1);
  logs_[0].Append(40, 8, 4);
  logs_[1].Append(20, 8, 2);
  logs_[1].Append(30, 7, 3);
  logs_[1].Append(50, 7, 5);
  const auto copy = Begun(Options(), {{0}, {0}}, Ends());
  EXPECT_TRUE(copy->stats().running);
  EXPECT_FALSE(copy->done());
  RunIdle(*copy, 1'000);
  EXPECT_TRUE(copy->done());
  EXPECT_THAT(Written(), ElementsAre(1, 2, 3, 4, 5));
  const std::vector<MockRecord> records = cluster_.Read("to", 0);
  EXPECT_EQ(records[0].key, "7");
  EXPECT_EQ(records[1].key, "8");
  EXPECT_EQ(records[0].value, Log::Value(7, 1)) << "its bytes as they were";
  const KafkaCopyStats stats = copy->stats();
  EXPECT_EQ(stats.read, 5);
  EXPECT_EQ(stats.written, 5);
  EXPECT_GT(stats.bytes, 0);
  EXPECT_EQ(stats.time, AppendTime{50});
  ASSERT_EQ(stats.partitions.size(), 2);
  EXPECT_EQ(stats.partitions[0].next, Offset{2});
  EXPECT_EQ(stats.partitions[1].next, Offset{3});
}

TEST_F(KafkaCopyTest, EachTransactionStoresThePositions) {
  const auto copy = Begun(Options(), {{0}, {0}}, std::nullopt);
  EXPECT_EQ(cluster_.Asked(MockRequest::kCommitOffsets), 1)
      << "a copy that has begun is known as one";
  logs_[0].Append(10, 7, 1);
  logs_[1].Append(20, 7, 2);
  RunIdle(*copy, 1'000);
  RunIdle(*copy, 2'000);
  EXPECT_THAT(Written(), ElementsAre(1, 2));
  EXPECT_EQ(cluster_.Asked(MockRequest::kCommitOffsets), 1 + copy->stats().commits);
  EXPECT_EQ(cluster_.Asked(MockRequest::kEndTransaction), 1 + copy->stats().commits);
}

// Destroyed between any two steps; the next copy continues at the committed positions.
TEST_F(KafkaCopyTest, ContinuesAtItsPositionsAfterEveryCrash) {
  for (int64_t id = 1; id <= 12; ++id) logs_[static_cast<size_t>(id % 2)].Append(10 * id, 7, id);
  KafkaCopyOptions options = Options();
  options.commit_records_max = 2;
  std::vector<Offset> from = {{0}, {0}};
  int owners = 0;
  for (bool done = false; !done; ++owners) {
    const auto copy = Begun(options, from, Ends());
    static_cast<void>(copy->Step(1'000));
    done = copy->done();
    for (size_t i = 0; i < from.size(); ++i) from[i] = copy->stats().partitions[i].next;
    ASSERT_LT(owners, 20);
  }
  EXPECT_GT(owners, 3);
  EXPECT_THAT(Written(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
}

TEST_F(KafkaCopyTest, CopiesNothingBeyondItsEnd) {
  for (int64_t id = 1; id <= 4; ++id) logs_[0].Append(id, 7, id);
  logs_[1].Append(1, 7, 9);
  const auto copy = Begun(Options(), {{1}, {0}}, std::vector<Offset>{{3}, {0}});
  RunIdle(*copy, 1'000);
  EXPECT_TRUE(copy->done());
  EXPECT_THAT(Written(), ElementsAre(2, 3));
}

TEST_F(KafkaCopyTest, APartitionSilentAtItsEndHoldsUpTheOthersForHoldMax) {
  logs_[0].Append(10, 7, 1);
  const auto copy = Begun(Options(), {{0}, {0}}, std::nullopt);
  RunIdle(*copy, 10'000);
  EXPECT_THAT(Written(), IsEmpty());
  RunIdle(*copy, 10'499);
  EXPECT_THAT(Written(), IsEmpty());
  RunIdle(*copy, 10'500);
  EXPECT_THAT(Written(), ElementsAre(1));
}

TEST_F(KafkaCopyTest, APartitionThatDoesNotAnswerHoldsUpTheOthers) {
  logs_[0].Append(10, 7, 1);
  logs_[1].poll_answer = Status::Retry("its broker is away");
  const auto copy = Begun(Options(), {{0}, {0}}, std::nullopt);
  for (int64_t now = 10'000; now < 100'000; now += 10'000) RunIdle(*copy, now);
  EXPECT_THAT(Written(), IsEmpty());
  EXPECT_EQ(copy->stats().awaited, 1);
  logs_[1].poll_answer.reset();
  logs_[1].Append(5, 7, 2);
  RunIdle(*copy, 100'000);
  RunIdle(*copy, 101'000);
  EXPECT_THAT(Written(), ElementsAre(2, 1));
}

TEST_F(KafkaCopyTest, LostRecordsOfTheSourceStopIt) {
  logs_[1].seek_answer = Status::Stop("retention has passed it");
  const auto copy = Begun(Options(), {{0}, {0}}, std::nullopt);
  const Status status = copy->Step(1'000);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_EQ(status.message(), "retention has passed it");
}

// Kafka forgets the offsets of a group after some days, and only a commit shows that this copy was
// fenced.
TEST_F(KafkaCopyTest, CommitsInSilenceToo) {
  KafkaCopyOptions options = Options();
  options.commit_interval = {100};
  const auto copy = Begun(options, {{0}, {0}}, std::nullopt);
  RunIdle(*copy, 10'000);
  const int64_t before = copy->stats().commits;
  RunIdle(*copy, 19'999);
  EXPECT_EQ(copy->stats().commits, before);
  RunIdle(*copy, 20'000);
  EXPECT_EQ(copy->stats().commits, before + 1);
  cluster_.Refuse(MockRequest::kAddOffsets, {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH});
  EXPECT_EQ(Run(*copy, 30'000).code(), StatusCode::kStop);
}

TEST_F(KafkaCopyTest, AFencedCopyStopsAndNamesItsId) {
  for (const auto& [request, error] :
       {std::pair(MockRequest::kEndTransaction, RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
        std::pair(MockRequest::kAddPartitions, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
        std::pair(MockRequest::kAddOffsets, RD_KAFKA_RESP_ERR_PRODUCER_FENCED)}) {
    logs_[0].Append(10, 7, 1);
    const auto copy = Begun(Options(), {{std::ssize(logs_[0].records) - 1}, {0}}, Ends());
    cluster_.Refuse(request, {error});
    const Status status = Run(*copy, 1'000);
    EXPECT_EQ(status.code(), StatusCode::kStop) << static_cast<int>(request);
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("another process copies into 'to' now"), HasSubstr("'rekey-to'")));
  }
}

TEST_F(KafkaCopyTest, ARefusedRecordIsLeftToANewCopy) {
  logs_[0].Append(10, 7, 1);
  const auto copy = Begun(Options(), {{0}, {0}}, Ends());
  cluster_.Refuse(MockRequest::kProduce, {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED});
  const Status status = Run(*copy, 1'000);
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(Where("to", 0)), HasSubstr("authorization")));
  EXPECT_EQ(copy->stats().partitions[0].next, Offset{0});
  EXPECT_EQ(copy->stats().written, 0);
  const auto next = Begun(Options(), {{0}, {0}}, Ends());
  RunIdle(*next, 1'000);
  EXPECT_THAT(Written(), ElementsAre(1));
}

TEST_F(KafkaCopyTest, RefusedPositionsAreLeftToANewCopy) {
  logs_[0].Append(10, 7, 1);
  const auto copy = Begun(Options(), {{0}, {0}}, Ends());
  cluster_.Refuse(MockRequest::kCommitOffsets, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});
  const Status status = Run(*copy, 1'000);
  EXPECT_EQ(status.code(), StatusCode::kRebuild);
  EXPECT_THAT(status.message(), HasSubstr("storing the positions"));
}

TEST_F(KafkaCopyTest, ARecordThatTheTopicDoesNotTakeStopsIt) {
  logs_[0].Append(10, 7, 1);
  const auto copy = Begun(Options(), {{0}, {0}}, Ends());
  cluster_.Refuse(MockRequest::kProduce, {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE});
  const Status status = Run(*copy, 1'000);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr(Where("to", 0)), HasSubstr("raise its max.message.bytes")));
}

TEST_F(KafkaCopyTest, ARecordThatNoTopicTakesStopsIt) {
  logs_[0].records.push_back({{10}, std::string(kKafkaMessageBytesMax + 1 + kDecodePadding, ' ')});
  const auto copy = Begun(Options(), {{0}, {0}}, Ends());
  const Status status = Run(*copy, 1'000);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(Where("to", 0)), HasSubstr("too large")));
}

TEST_F(KafkaCopyTest, StopEndsTheFence) {
  cluster_.StopBroker();
  KafkaCopy copy(Options(), stop_);
  std::thread stopper([&] { stop_ = true; });
  EXPECT_EQ(copy.Fence().code(), StatusCode::kRetry);
  stopper.join();
}

// The positions are the offsets of a group. Their metadata names the topic that is written and what
// is copied.
class KafkaCopyPositions : public KafkaCopyTest {
 protected:
  Result<std::map<int32_t, Offset>> Positions() { return Fenced(Options())->Positions(2); }
  void Said(int64_t offset, const std::string& metadata) {
    cluster_.CommitOffset("rekey-to", "raw", 1, offset, metadata);
  }
};

TEST_F(KafkaCopyPositions, NothingIsCopied) {
  const auto positions = Positions();
  ASSERT_TRUE(positions.ok()) << positions.status().message();
  EXPECT_THAT(positions.value(), IsEmpty());
}

TEST_F(KafkaCopyPositions, OfTheSameCopy) {
  Said(17, "to-id\nraw by camera");
  EXPECT_THAT(Positions().value(), ElementsAre(Pair(1, Offset{17})));
}

TEST_F(KafkaCopyPositions, SetByAPerson) {
  Said(17, "");
  EXPECT_THAT(Positions().value(), ElementsAre(Pair(1, Offset{17})));
}

TEST_F(KafkaCopyPositions, OfATopicThatWasDeletedSince) {
  Said(17, "another-id\nraw by camera");
  EXPECT_THAT(Positions().value(), IsEmpty());
}

TEST_F(KafkaCopyPositions, OfAnotherCopyIntoTheTopic) {
  Said(17, "to-id\nraw by detection");
  const auto positions = Positions();
  ASSERT_FALSE(positions.ok());
  EXPECT_EQ(positions.status().code(), StatusCode::kStop);
  EXPECT_THAT(positions.status().message(), AllOf(HasSubstr("topic 'to' holds 'raw by detection'"),
                                                  HasSubstr("'raw by camera'")));
}

TEST_F(KafkaCopyPositions, OfAGroupThatMoves) {
  Said(17, "to-id\nraw by camera");
  cluster_.Refuse(MockRequest::kOffsetFetch, {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                              RD_KAFKA_RESP_ERR_NOT_COORDINATOR});
  EXPECT_THAT(Positions().value(), ElementsAre(Pair(1, Offset{17})));
}

TEST_F(KafkaCopyPositions, OfAGroupThatMayNotBeAsked) {
  cluster_.Refuse(MockRequest::kOffsetFetch, {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED});
  const auto positions = Positions();
  ASSERT_FALSE(positions.ok());
  EXPECT_EQ(positions.status().code(), StatusCode::kRetry);
  EXPECT_THAT(positions.status().message(), HasSubstr("group 'rekey-to'"));
}

}  // namespace
}  // namespace sightline::kafka
