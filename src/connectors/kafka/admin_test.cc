#include "connectors/kafka/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "connectors/kafka/mock_cluster.h"

namespace sightline::kafka {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class KafkaAdminTest : public testing::Test {
 protected:
  std::unique_ptr<KafkaAdmin> Open(Millis timeout = {60'000}) {
    return std::move(KafkaAdmin::Open(cluster_.options(), timeout)).value();
  }
  MockCluster cluster_{3};
};

TEST_F(KafkaAdminTest, ListsTheTopics) {
  const auto admin = Open();
  EXPECT_THAT(admin->Names().value(), UnorderedElementsAre());
  cluster_.MakeTopic("raw");
  cluster_.MakeTopic("counts", 7);
  EXPECT_THAT(admin->Names().value(), UnorderedElementsAre("raw", "counts"));
}

TEST_F(KafkaAdminTest, StopsForAnInvalidTopic) {
  const Status status = Open()->Create({.name = "raw", .partitions = -7});
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), HasSubstr("topic 'raw' cannot be created"));
}

}  // namespace
}  // namespace sightline::kafka
