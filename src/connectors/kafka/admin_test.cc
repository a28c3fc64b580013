#include "connectors/kafka/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "connectors/kafka/mock_cluster.h"

namespace sightline::kafka {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class KafkaAdminTest : public testing::Test {
 protected:
  std::unique_ptr<KafkaAdmin> Open(Millis timeout = {60'000}) {
    return std::move(KafkaAdmin::Open(cluster_.options(), timeout)).value();
  }
  MockCluster cluster_{3};
};

TEST_F(KafkaAdminTest, DescribesTheCluster) {
  const auto admin = Open();
  const Result<std::string> id = admin->ClusterId();
  ASSERT_TRUE(id.ok()) << id.status().message();
  EXPECT_NE(id.value(), "");
  EXPECT_EQ(Open()->ClusterId().value(), id.value());
  EXPECT_EQ(admin->Brokers().value(), 3);
}

TEST_F(KafkaAdminTest, ListsTheTopics) {
  const auto admin = Open();
  EXPECT_THAT(admin->Names().value(), UnorderedElementsAre());
  cluster_.MakeTopic("raw");
  cluster_.MakeTopic("counts", 7);
  EXPECT_THAT(admin->Names().value(), UnorderedElementsAre("raw", "counts"));
}

TEST_F(KafkaAdminTest, DescribesNothingForAMissingTopic) {
  const auto admin = Open();
  const auto state = admin->Describe("nowhere");
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_FALSE(state.value());
  EXPECT_TRUE(admin->DescribeAll({}).value().empty());
  EXPECT_TRUE(admin->DescribeAll({"nowhere", "neither"}).value().empty());
}

TEST_F(KafkaAdminTest, NamesTheRightThatIsMissing) {
  cluster_.MakeTopic("raw");
  cluster_.RefuseTopic("raw", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  const auto state = Open()->Describe("raw");
  ASSERT_FALSE(state.ok());
  EXPECT_EQ(state.status().code(), StatusCode::kRetry) << "the right may be granted meanwhile";
  EXPECT_EQ(state.status().message(), "topic 'raw': this user lacks the right to Describe it");
}

// Mock brokers do not know these requests.
TEST_F(KafkaAdminTest, StopsIfTheClusterDoesNotSupportARequest) {
  cluster_.MakeTopic("raw");
  const auto admin = Open();
  for (const Status& status : {admin->Describe("raw").status(), admin->Create({.name = "other"}),
                               admin->Alter("raw", {{"retention.ms", "1000"}}),
                               admin->Delete("raw"), admin->DeleteRecords("raw", 0, {0})}) {
    EXPECT_EQ(status.code(), StatusCode::kStop) << status.message();
    EXPECT_THAT(status.message(), HasSubstr("topic '"));
  }
}

TEST_F(KafkaAdminTest, StopsForAnInvalidTopic) {
  const Status status = Open()->Create({.name = "raw", .partitions = -7});
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr("topic 'raw' cannot be created"));
}

TEST_F(KafkaAdminTest, ReportsWhyThereIsNoAnswer) {
  cluster_.StopBroker();
  const auto admin = Open({200});
  for (const Status& status :
       {admin->ClusterId().status(), admin->Brokers().status(), admin->Describe("raw").status(),
        admin->Names().status(), admin->Delete("raw")}) {
    EXPECT_EQ(status.code(), StatusCode::kRetry) << status.message();
  }
  const Status status = admin->Describe("raw").status();
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("topic 'raw': no answer within 200 ms: "), HasSubstr("127.0.0.1")));
  // It recovers by itself.
  cluster_.StartBroker();
  EXPECT_TRUE(Eventually([&] { return admin->Brokers().ok(); }));
}

}  // namespace
}  // namespace sightline::kafka
