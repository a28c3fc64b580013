#include "connectors/kafka/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "connectors/kafka/mock_cluster.h"

namespace sightline::kafka {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Parts = std::set<KafkaPartition>;

Parts All(const std::string& topic, int32_t partitions) {
  Parts all;
  for (int32_t p = 0; p < partitions; ++p) all.insert({topic, p});
  return all;
}

// A process of the group, and what it works on.
class Member {
 public:
  Member(KafkaOptions kafka, const std::string& topics, Millis session_timeout = {10'000})
      : membership_(std::move(KafkaMembership::Join({
                                  .kafka = std::move(kafka),
                                  .group = "count",
                                  .topics = topics,
                                  .on_assigned = [this](const auto& list) { Add(list); },
                                  .on_revoked = [this](const auto& list) { Remove(list); },
                                  .session_timeout = session_timeout,
                              }))
                        .value()) {}

  Parts Mine() const {
    const std::lock_guard lock(mutex_);
    return mine_;
  }
  bool Has(const Parts& parts) const {
    return Eventually([&] { return Mine() == parts; });
  }
  KafkaMembership& membership() { return *membership_; }
  void Die() { membership_ = nullptr; }

 private:
  void Add(const std::vector<KafkaPartition>& list) {
    const std::lock_guard lock(mutex_);
    for (const KafkaPartition& partition : list)
      EXPECT_TRUE(mine_.insert(partition).second) << "it was given twice";
  }
  void Remove(const std::vector<KafkaPartition>& list) {
    const std::lock_guard lock(mutex_);
    for (const KafkaPartition& partition : list)
      EXPECT_EQ(mine_.erase(partition), 1) << "it was not given";
  }
  mutable std::mutex mutex_;
  Parts mine_;  // under mutex_
  std::unique_ptr<KafkaMembership> membership_;
};

class KafkaMembershipTest : public testing::Test {
 protected:
  KafkaMembershipTest() { cluster_.MakeTopic("raw", 4); }
  // With a short session timeout, because the mock group waits for parts of it.
  std::unique_ptr<Member> Join(const std::string& topics = "raw") {
    return std::make_unique<Member>(cluster_.options(), topics, Millis{1'000});
  }

  MockCluster cluster_;
};

TEST_F(KafkaMembershipTest, TheOnlyMemberHasAll) {
  const auto member = Join();
  EXPECT_TRUE(member->Has(All("raw", 4)));
  EXPECT_EQ(member->membership().trouble(), "");
}

TEST_F(KafkaMembershipTest, WhatIsAssignedIsRevokedWhenItLeaves) {
  const auto member = Join();
  EXPECT_TRUE(member->Has(All("raw", 4)));
  member->membership().Leave();
  EXPECT_THAT(member->Mine(), IsEmpty());
}

TEST_F(KafkaMembershipTest, MembersShareAndTakeOver) {
  auto first = Join();
  EXPECT_TRUE(first->Has(All("raw", 4)));
  const auto second = Join();
  const auto both = [&] {
    Parts parts = first->Mine();
    parts.merge(second->Mine());
    return parts;
  };
  EXPECT_TRUE(Eventually([&] {
    return first->Mine().size() == 2 && second->Mine().size() == 2 && both() == All("raw", 4);
  }));
  first->Die();
  EXPECT_TRUE(second->Has(All("raw", 4)));
}

TEST_F(KafkaMembershipTest, FindsTopicsThatAreCreatedLater) {
  KafkaOptions options = cluster_.options();
  options.settings.emplace_back("topic.metadata.refresh.interval.ms", "20");
  cluster_.MakeTopic("raw_1", 1);
  Member member(options, "^raw_[0-9]+$", Millis{1'000});
  EXPECT_TRUE(member.Has(All("raw_1", 1)));
  cluster_.MakeTopic("raw_2", 2);
  Parts all = All("raw_1", 1);
  all.merge(All("raw_2", 2));
  EXPECT_TRUE(member.Has(all));
}

TEST_F(KafkaMembershipTest, ReportsTroubleUntilTheGroupAgrees) {
  std::vector<rd_kafka_resp_err_t> refusals(1'000, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
  cluster_.Refuse(MockRequest::kJoinGroup, refusals);
  const auto member = Join();
  EXPECT_TRUE(Eventually([&] { return member->membership().trouble() != ""; }));
  EXPECT_THAT(member->membership().trouble(),
              AllOf(HasSubstr("group 'count'"), HasSubstr("authorization")));
  EXPECT_THAT(member->Mine(), IsEmpty());
  cluster_.RefuseNoMore(MockRequest::kJoinGroup);
  EXPECT_TRUE(member->Has(All("raw", 4)));
  EXPECT_TRUE(Eventually([&] { return member->membership().trouble() == ""; }));
}

TEST_F(KafkaMembershipTest, TheNextOwnerKnowsTheReportedOffset) {
  const KafkaPartition partition{"raw", 2};
  {
    const auto member = Join();
    EXPECT_TRUE(member->Has(All("raw", 4)));
    const auto unknown = Insist([&] { return member->membership().Reported(partition); });
    ASSERT_TRUE(unknown.ok());
    EXPECT_EQ(unknown.value(), std::nullopt);
    member->membership().Report(partition, {17});
    member->membership().Report(partition, {42});
    member->membership().Leave();
  }
  const auto next = Join();
  EXPECT_TRUE(next->Has(All("raw", 4)));
  EXPECT_EQ(next->membership().Reported(partition).status().code(), StatusCode::kRetry)
      << "it never waits";
  const auto reported = Insist([&] { return next->membership().Reported(partition); });
  ASSERT_TRUE(reported.ok());
  EXPECT_EQ(reported.value(), Offset{42});
  const auto other = Insist([&] { return next->membership().Reported({"raw", 3}); });
  EXPECT_EQ(other.value(), std::nullopt);
}

TEST_F(KafkaMembershipTest, AGroupThatDoesNotReportOffsetsIsAnsweredWithNothing) {
  const auto member = Join();
  EXPECT_TRUE(member->Has(All("raw", 4)));
  std::vector<rd_kafka_resp_err_t> refusals(100, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
  cluster_.Refuse(MockRequest::kOffsetFetch, refusals);
  const auto reported = Insist([&] { return member->membership().Reported({"raw", 0}); });
  ASSERT_TRUE(reported.ok());
  EXPECT_EQ(reported.value(), std::nullopt);
}

TEST_F(KafkaMembershipTest, LeavesAGroupThatCannotBeReached) {
  const auto member = Join();
  EXPECT_TRUE(member->Has(All("raw", 4)));
  cluster_.StopBroker();
  member->membership().Leave();
  member->membership().Leave();  // nothing more
}

}  // namespace
}  // namespace sightline::kafka
