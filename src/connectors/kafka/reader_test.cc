#include "connectors/kafka/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/mock_cluster.h"
#include "connectors/kafka/newest.h"
#include "connectors/kafka/partition_bounds.h"
#include "operators/decode.h"

namespace sightline::kafka {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class KafkaReaderTest : public testing::Test {
 protected:
  std::unique_ptr<KafkaReader> Open() { return Open(cluster_.options()); }
  static std::unique_ptr<KafkaReader> Open(const KafkaOptions& options) {
    return std::move(KafkaReader::Open(options)).value();
  }
  // The next `count` payloads; fewer, if they do not come.
  static std::vector<std::string> ReadSome(Source& source, size_t count) {
    std::vector<std::string> payloads;
    Offset next{-1};
    Eventually([&] {
      const Result<Batch> polled = source.Poll(100);
      if (!polled.ok()) {
        EXPECT_EQ(polled.status().code(), StatusCode::kRetry) << polled.status().message();
        return false;
      }
      const Batch& batch = polled.value();
      if (next.v >= 0) {
        EXPECT_EQ(batch.first, next);
      }
      next = batch.next;
      for (const Record& record : batch.records) {
        EXPECT_GE(record.offset, batch.first);
        EXPECT_LT(record.offset, batch.next);
        payloads.emplace_back(record.payload);
      }
      return payloads.size() >= count;
    });
    return payloads;
  }

  MockCluster cluster_{2};
  const KafkaTopic topic_ = cluster_.MakeTopic("raw", 2);
};

TEST_F(KafkaReaderTest, ReturnsRecordsFromTheOffsetOfTheSeek) {
  cluster_.Write("raw", 1, {"a", "b", "c", "d"});
  const auto reader = Open();
  const auto source = reader->OpenSource(topic_, 1, nullptr);
  EXPECT_EQ(Insist([&] { return source->Earliest(); }).value(), Offset{0});
  ASSERT_TRUE(Insist([&] { return source->Seek({1}); }).ok());
  EXPECT_THAT(ReadSome(*source, 3), ElementsAre("b", "c", "d"));
  cluster_.Write("raw", 1, {"e"});
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("e"));
  // And once more.
  ASSERT_TRUE(Insist([&] { return source->Seek({3}); }).ok());
  EXPECT_THAT(ReadSome(*source, 2), ElementsAre("d", "e"));
}

TEST_F(KafkaReaderTest, ABatchHasAtMostRecordsMaxAndOwnsItsPayloads) {
  cluster_.Write("raw", 0, {"a", "b", "c"});
  const auto reader = Open();
  auto source = reader->OpenSource(topic_, 0, nullptr);
  ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
  Batch kept;
  ASSERT_TRUE(Eventually([&] {
    kept = source->Poll(2).value();
    return !kept.records.empty();
  }));
  ASSERT_LE(kept.records.size(), 2);
  source = nullptr;
  EXPECT_EQ(kept.records[0].payload, "a");
  // Readable beyond its end, as decoders read it.
  const volatile char last =
      kept.records.back().payload.data()[kept.records.back().payload.size() + kDecodePadding - 1];
  static_cast<void>(last);
}

// The time of a sender's clock is not an append time.
TEST_F(KafkaReaderTest, ReturnsNoAppendTimeUnlessTheBrokerSetIt) {
  cluster_.Write("raw", 0, {"a"});
  KafkaTopic stamped = topic_;
  stamped.log_append_time = true;
  for (const KafkaTopic& topic : {topic_, stamped}) {
    const auto reader = Open();
    const auto source = reader->OpenSource(topic, 0, nullptr);
    ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
    Batch batch;
    ASSERT_TRUE(Eventually([&] {
      batch = source->Poll(10).value();
      return !batch.records.empty();
    }));
    EXPECT_EQ(batch.records[0].append_time, kNoAppendTime);
    EXPECT_EQ(reader->EndOf(topic.id, 0).newest, kNoAppendTime);
  }
}

TEST_F(KafkaReaderTest, WakesWhenRecordsArrive) {
  std::atomic<int> wakes = 0;
  cluster_.Write("raw", 0, {"a"});
  const auto reader = Open();
  const auto source = reader->OpenSource(topic_, 0, [&] { ++wakes; });
  EXPECT_EQ(source->Earliest().status().code(), StatusCode::kRetry) << "it never waits";
  EXPECT_TRUE(Eventually([&] { return wakes > 0; }));
  ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("a"));
  const int before = wakes;
  cluster_.Write("raw", 0, {"b"});
  EXPECT_TRUE(Eventually([&] { return wakes > before; }));
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("b"));
}

TEST_F(KafkaReaderTest, StopsWhereRetentionHasPassed) {
  cluster_.Write("raw", 0, {"a", "b", "c", "d", "e"});
  cluster_.DeleteBefore("raw", 0, 3);
  const auto reader = Open();
  const auto source = reader->OpenSource(topic_, 0, nullptr);
  const Status refused = Insist([&] { return source->Seek({1}); });
  EXPECT_EQ(refused.code(), StatusCode::kStop);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr(Where("raw", 0)), HasSubstr("offset 1"),
                                       HasSubstr("the oldest is 3")));
  EXPECT_EQ(source->Earliest().value(), Offset{3}) << "what the refusal went by, at once";
  ASSERT_TRUE(Insist([&] { return source->Seek({3}); }).ok());
  EXPECT_THAT(ReadSome(*source, 2), ElementsAre("d", "e"));
}

TEST_F(KafkaReaderTest, StopsBeyondTheEnd) {
  cluster_.Write("raw", 0, {"a", "b"});
  const auto reader = Open();
  const auto source = reader->OpenSource(topic_, 0, nullptr);
  const Status refused = Insist([&] { return source->Seek({7}); });
  EXPECT_EQ(refused.code(), StatusCode::kStop);
  EXPECT_THAT(refused.message(), AllOf(HasSubstr(Where("raw", 0)), HasSubstr("offset 7"),
                                       HasSubstr("beyond the end 2")));
  EXPECT_LE(source->Earliest().value(), Offset{7}) << "it was not retention";
  // Nothing stops for a person on an old answer.
  cluster_.Write("raw", 0, {"c", "d", "e", "f", "g", "h"});
  ASSERT_TRUE(Insist([&] { return source->Seek({7}); }).ok());
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("h"));
}

TEST_F(KafkaReaderTest, KeepsReportingStopWhenRetentionHasPassedTheNextOffset) {
  cluster_.Write("raw", 0, {"a", "b", "c", "d"});
  const auto reader = Open();
  const auto source = reader->OpenSource(topic_, 0, nullptr);
  ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
  cluster_.DeleteBefore("raw", 0, 2);
  Status stopped = Status::Ok();
  ASSERT_TRUE(Eventually([&] {
    stopped = source->Poll(100).status();
    return stopped.code() == StatusCode::kStop;
  })) << stopped.message();
  EXPECT_THAT(stopped.message(),
              AllOf(HasSubstr(Where("raw", 0)), HasSubstr("retention has passed offset 0")));
  EXPECT_EQ(source->Poll(100).status().code(), StatusCode::kStop);
  EXPECT_EQ(Insist([&] { return source->Earliest(); }).value(), Offset{2});
  ASSERT_TRUE(Insist([&] { return source->Seek({2}); }).ok());
  EXPECT_THAT(ReadSome(*source, 2), ElementsAre("c", "d"));
}

TEST_F(KafkaReaderTest, ContinuesWhenTheBrokersAreBack) {
  cluster_.Write("raw", 0, {"a"});
  const auto reader = Open();
  const auto source = reader->OpenSource(topic_, 0, nullptr);
  ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("a"));
  cluster_.StopBroker();
  const Result<Batch> away = source->Poll(100);
  EXPECT_TRUE(away.ok() || away.status().code() == StatusCode::kRetry);
  cluster_.StartBroker();
  cluster_.Write("raw", 0, {"b"});
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("b"));
}

TEST_F(KafkaReaderTest, FollowsTheLeader) {
  cluster_.MoveLeader("raw", 0, 1);
  cluster_.Write("raw", 0, {"a"});
  const auto reader = Open();
  const auto source = reader->OpenSource(topic_, 0, nullptr);
  ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("a"));
  cluster_.MoveLeader("raw", 0, 2);
  cluster_.Write("raw", 0, {"b"});
  EXPECT_THAT(ReadSome(*source, 1), ElementsAre("b"));
}

TEST_F(KafkaReaderTest, ReturnsNothingOfATopicThatWasCreatedAgain) {
  cluster_.MakeTopic("other");
  cluster_.Write("raw", 0, {"a", "b"});
  KafkaOptions options = cluster_.options();
  options.settings.emplace_back("topic.metadata.refresh.interval.ms", "20");
  const auto reader = Open(options);
  const auto source = reader->OpenSource(topic_, 0, nullptr);
  ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
  EXPECT_THAT(ReadSome(*source, 2), ElementsAre("a", "b"));
  cluster_.DeleteTopic("raw");
  cluster_.MakeTopic("raw", 2);
  cluster_.Write("raw", 0, {"c", "d", "e"});
  Status said = Status::Ok();
  EXPECT_TRUE(Eventually([&] {
    const Result<Batch> polled = source->Poll(100);
    said = polled.status();
    EXPECT_TRUE(!polled.ok() || polled.value().records.empty()) << "another source's record";
    return said.message().find("created again") != std::string::npos;
  })) << said.message();
  EXPECT_EQ(said.code(), StatusCode::kRetry);
  EXPECT_THAT(said.message(), HasSubstr("topic 'raw'"));
  // Others are as they were.
  cluster_.Write("other", 0, {"x"});
  const auto other =
      reader->OpenSource({.name = "other", .id = "other-id", .partitions = 1}, 0, nullptr);
  ASSERT_TRUE(Insist([&] { return other->Seek({0}); }).ok());
  EXPECT_THAT(ReadSome(*other, 1), ElementsAre("x"));
}

TEST_F(KafkaReaderTest, KnowsTheEndOfAPartitionThatASourceReads) {
  cluster_.Write("raw", 0, {"a", "b"});
  const auto reader = Open();
  EXPECT_EQ(reader->EndOf(topic_.id, 0).next, Offset{0}) << "nobody has asked";
  const auto source = reader->OpenSource(topic_, 0, nullptr);
  ASSERT_TRUE(Insist([&] { return source->Seek({0}); }).ok());
  EXPECT_EQ(reader->EndOf(topic_.id, 0).next, Offset{2});
  cluster_.Write("raw", 0, {"c"});
  EXPECT_THAT(ReadSome(*source, 3), ElementsAre("a", "b", "c"));
  EXPECT_EQ(reader->EndOf(topic_.id, 0).next, Offset{3});
  EXPECT_EQ(reader->EndOf("another", 0).next, Offset{0});
}

TEST_F(KafkaReaderTest, AsksForTheEndsOfPartitionsThatNobodyReads) {
  cluster_.Write("raw", 0, {"a", "b"});
  cluster_.Write("raw", 1, {"a"});
  const auto reader = Open();
  const auto end_is = [&](int32_t partition, int64_t next) {
    return Eventually([&] {
      reader->AskEnds({topic_});
      return reader->EndOf(topic_.id, partition).next == Offset{next};
    });
  };
  EXPECT_TRUE(end_is(0, 2));
  EXPECT_TRUE(end_is(1, 1));
  cluster_.Write("raw", 1, {"b"});
  EXPECT_TRUE(end_is(1, 2));
  // A topic that is not there keeps nobody from the others.
  const KafkaTopic unknown{.name = "unknown", .id = "unknown-id", .partitions = 1};
  cluster_.Write("raw", 1, {"c"});
  EXPECT_TRUE(Eventually([&] {
    reader->AskEnds({unknown, topic_});
    return reader->EndOf(topic_.id, 1).next == Offset{3};
  }));
}

TEST_F(KafkaReaderTest, ACopyInputHasKeysTombstonesAndTimes) {
  cluster_.Write("raw", 0, {"a"}, "camera");
  cluster_.Write("raw", 0, {"b"});
  cluster_.Write("raw", 0, {std::nullopt}, "gone");
  const auto reader = Open();
  const auto input = reader->OpenCopyInput(topic_, 0);
  ASSERT_TRUE(Insist([&] { return input->Seek({0}); }).ok());
  EXPECT_EQ(input->end(), Offset{3});
  std::vector<std::pair<std::optional<std::string>, std::string>> seen;
  std::vector<bool> has_value;
  ASSERT_TRUE(Eventually([&] {
    const Result<CopyBatch> polled = input->Poll(10);
    if (!polled.ok()) return false;
    for (const CopyRecord& record : polled.value().records) {
      EXPECT_EQ(record.offset.v, std::ssize(seen));
      EXPECT_GT(record.time.v, 0);
      seen.emplace_back(record.key, record.value);
      has_value.push_back(record.has_value);
    }
    return polled.value().next == Offset{3};
  }));
  EXPECT_THAT(seen, ElementsAre(std::pair("camera", "a"), std::pair(std::nullopt, "b"),
                                std::pair("gone", "")));
  EXPECT_THAT(has_value, ElementsAre(true, true, false));
}

TEST_F(KafkaReaderTest, ReadsTheNewestRecords) {
  cluster_.Write("raw", 0, {"a", "b", "c", "d"});
  cluster_.Write("raw", 1, {"e"});
  std::vector<std::pair<int32_t, std::string>> seen;
  const auto take = [&](const NewestRecord& record) {
    seen.emplace_back(record.partition, record.value);
  };
  const Status status = ReadNewest(cluster_.options(), "raw", 2, 2, {60'000}, take);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_THAT(seen, ElementsAre(std::pair(0, "c"), std::pair(0, "d"), std::pair(1, "e")));
}

TEST_F(KafkaReaderTest, ReadsTheBoundsOfAllPartitions) {
  cluster_.Write("raw", 0, {"a", "b", "c"});
  cluster_.DeleteBefore("raw", 0, 1);
  const auto bounds = ReadPartitionBounds(cluster_.options(), "raw", 2, {0}, {60'000});
  ASSERT_TRUE(bounds.ok()) << bounds.status().message();
  ASSERT_EQ(bounds.value().size(), 2);
  EXPECT_EQ(bounds.value()[0].earliest, Offset{1});
  EXPECT_EQ(bounds.value()[0].end, Offset{3});
  EXPECT_EQ(bounds.value()[0].from, Offset{3}) << "no record of that time or later is known";
  EXPECT_EQ(bounds.value()[1].earliest, Offset{0});
  EXPECT_EQ(bounds.value()[1].end, Offset{0});
  EXPECT_TRUE(bounds.value()[1].empty());
}

TEST_F(KafkaReaderTest, RetriesBoundsWhileTheClusterIsAway) {
  cluster_.StopBroker();
  const auto bounds = ReadPartitionBounds(cluster_.options(), "raw", 1, {0}, {100});
  ASSERT_FALSE(bounds.ok());
  EXPECT_EQ(bounds.status().code(), StatusCode::kRetry);
}

TEST_F(KafkaReaderTest, RefusesInvalidOptions) {
  KafkaOptions options = cluster_.options();
  options.security_protocol = "TELEPATHY";
  options.sasl_password = "hunter2";
  const auto reader = KafkaReader::Open(options);
  ASSERT_FALSE(reader.ok());
  EXPECT_EQ(reader.status().code(), StatusCode::kStop);
  EXPECT_THAT(reader.status().message(),
              AllOf(HasSubstr("TELEPATHY"), testing::Not(HasSubstr("hunter2"))));
}

TEST(KafkaSourceName, HasClusterTopicAndId) {
  const std::string name = KafkaSourceName("cluster", {.name = "raw", .id = "id"});
  EXPECT_EQ(name, "kafka:cluster/raw/id");
  EXPECT_EQ(TopicOfSource(name), "raw");
  EXPECT_EQ(TopicIdOfSource(name), "id");
  for (const char* none : {"", "embedded:uuid", "kafka:cluster", "kafka:cluster/id"}) {
    EXPECT_EQ(TopicOfSource(none), "") << none;
    EXPECT_EQ(TopicIdOfSource(none), "") << none;
  }
}

TEST(KafkaTopic, IsReadAsItIsSet) {
  KafkaTopicState state{.name = "raw", .id = "id", .partitions = 3, .replication = 1};
  EXPECT_FALSE(TopicToRead(state).log_append_time);
  state.settings["message.timestamp.type"] = "CreateTime";
  EXPECT_FALSE(TopicToRead(state).log_append_time);
  state.settings["message.timestamp.type"] = "LogAppendTime";
  const KafkaTopic topic = TopicToRead(state);
  EXPECT_TRUE(topic.log_append_time);
  EXPECT_EQ(topic.name, "raw");
  EXPECT_EQ(topic.id, "id");
  EXPECT_EQ(topic.partitions, 3);
}

}  // namespace
}  // namespace sightline::kafka
