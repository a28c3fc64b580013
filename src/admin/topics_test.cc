#include "admin/topics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace sightline {
namespace {

// The state of a cluster of three brokers after `apply`.
TopicsNow Applied(const Settings& options, int32_t brokers = 3) {
  TopicsNow now{.brokers = brokers, .topics = {}};
  const Result<TopicsPlan> plan = PlanTopics(options, false, now);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  for (const auto& [name, spec] : plan.value().specs)
    now.topics[name] = {.name = name,
                        .id = "id",
                        .partitions = spec.partitions,
                        .replication = spec.replication,
                        .settings = spec.settings};
  return now;
}

std::vector<TopicDifference> Differences(const Settings& options, const TopicsNow& now) {
  const Result<TopicsPlan> plan = PlanTopics(options, false, now);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  return plan.value().differences;
}

// Returns the only difference as "action setting now wanted". There must be exactly one.
std::string Only(const std::vector<TopicDifference>& differences) {
  if (differences.size() != 1) return std::to_string(differences.size()) + " differences";
  const TopicDifference& d = differences[0];
  return std::string(ToString(d.action)) + " " + d.setting + " " + d.now + " " + d.wanted;
}

TEST(Topics, WhatWasMadeNeedsNothingAndBreaksNothing) {
  const Settings options;
  const TopicsNow now = Applied(options);
  EXPECT_EQ(now.topics.size(), 6);
  EXPECT_EQ(now.topics.at("monitoring").partitions, 1);
  EXPECT_EQ(now.topics.at("raw_camera_events").replication, 3);
  EXPECT_EQ(now.topics.at("located_item_counts").settings.at("min.insync.replicas"), "2");
  EXPECT_TRUE(Differences(options, now).empty());
  EXPECT_TRUE(CheckTopics(options, false, now).empty());
}

TEST(Topics, DefaultsFollowTheNumberOfBrokers) {
  const Settings options;
  const TopicsNow one = Applied(options, 1);
  EXPECT_EQ(one.topics.at("dead_letters").replication, 1);
  EXPECT_EQ(one.topics.at("dead_letters").settings.at("min.insync.replicas"), "1");
  EXPECT_EQ(Applied(options, 2).topics.at("dead_letters").settings.at("min.insync.replicas"), "1");
  // Topics of one broker keep their replication when more brokers come, and can still be written.
  TopicsNow grown = one;
  grown.brokers = 3;
  for (const TopicDifference& d : Differences(options, grown)) {
    EXPECT_EQ(d.action, TopicAction::kByHand);
    EXPECT_EQ(d.setting, "replication");
  }
  EXPECT_EQ(Differences(options, grown).size(), 6);
}

TEST(Topics, OptionsThatContradictTheClusterAreRefused) {
  Settings options;
  options.kafka.replication = 4;
  EXPECT_EQ(PlanTopics(options, false, {.brokers = 3, .topics = {}}).status().code(),
            StatusCode::kStop);
  options.kafka.replication = 2;
  options.kafka.min_isr = 3;
  EXPECT_EQ(PlanTopics(options, false, {.brokers = 3, .topics = {}}).status().code(),
            StatusCode::kStop);
}

TEST(Topics, OutputsHaveThePartitionsOfTheRawTopic) {
  Settings options;
  TopicsNow now = Applied(options);
  now.topics.at("raw_camera_events").partitions = 5;
  now.topics.erase("dead_letters");
  now.topics.at("late_detections").partitions = 5;
  // More partitions than needed do no harm, and 0 takes as many as the raw topic has.
  const Result<TopicsPlan> plan = PlanTopics(options, false, now);
  EXPECT_EQ(plan.value().specs.at("dead_letters").partitions, 5);
  EXPECT_EQ(plan.value().differences.size(), 1);
  now.topics.at("late_detections").partitions = 4;
  options.kafka.partitions = 5;
  now.topics["dead_letters"] = now.topics.at("late_detections");
  now.topics["dead_letters"].partitions = 6;
  EXPECT_EQ(Only(Differences(options, now)), "by hand partitions 4 5");
}

TEST(Topics, OnlyLosingIsLowering) {
  const Settings options;
  const TopicsNow applied = Applied(options);
  const auto with = [&](const char* topic, const char* setting, const char* value) {
    TopicsNow now = applied;
    now.topics.at(topic).settings[setting] = value;
    return Only(Differences(options, now));
  };
  const char* const raw = "raw_camera_events";
  const char* const counts = "located_item_counts";
  EXPECT_EQ(with(raw, "retention.ms", "-1"), "lower retention.ms -1 691200000");
  EXPECT_EQ(with(raw, "retention.ms", "1000"), "change retention.ms 1000 691200000");
  EXPECT_EQ(with(raw, "retention.bytes", "-1"), "lower retention.bytes -1 10737418240");
  EXPECT_EQ(with(counts, "retention.bytes", "5"), "change retention.bytes 5 -1");
  EXPECT_EQ(with(counts, "cleanup.policy", "compact"),
            "lower cleanup.policy compact compact,delete");
  EXPECT_EQ(with(counts, "cleanup.policy", "delete"),
            "change cleanup.policy delete compact,delete");
  EXPECT_EQ(with(counts, "cleanup.policy", "delete, compact"), "0 differences");
  EXPECT_EQ(with(raw, "cleanup.policy", "compact,delete"),
            "change cleanup.policy compact,delete delete");
  EXPECT_EQ(with(raw, "min.insync.replicas", "3"), "0 differences");
  EXPECT_EQ(with(raw, "min.insync.replicas", "4"), "lower min.insync.replicas 4 2");
  EXPECT_EQ(with(raw, "min.insync.replicas", "1"), "change min.insync.replicas 1 2");
  EXPECT_EQ(with(raw, "max.message.bytes", "99999999"), "0 differences");
  EXPECT_EQ(with(raw, "unclean.leader.election.enable", "true"),
            "change unclean.leader.election.enable true false");
}

TEST(Topics, RetentionMustOutliveWhatDeduplicationNeeds) {
  Settings options;
  TopicsNow now = Applied(options);
  std::string& retention = now.topics.at("raw_camera_events").settings["retention.ms"];
  const auto finds = [&] { return CheckTopics(options, false, now).size(); };
  retention = std::to_string(7 * 86'400'000LL + 59'999);
  EXPECT_EQ(finds(), 1);
  retention = std::to_string(7 * 86'400'000LL + 60'000);
  EXPECT_EQ(finds(), 0);
  options.pipeline.max_age.reset();
  retention = std::to_string(2 * 3'600'000 + 70'000);
  EXPECT_EQ(finds(), 0);
  retention = std::to_string(2 * 3'600'000 + 69'999);
  EXPECT_EQ(finds(), 1);
  retention = "-1";
  // Now retention removes the counts before the raw events.
  EXPECT_EQ(finds(), 1);
}

TEST(Topics, CamerasInSeveralPartitions) {
  const Settings options;
  CameraPartitions cameras;
  for (int64_t camera = 0; camera < 100; ++camera) cameras[CameraId{camera}] = {{"raw", 0}};
  EXPECT_FALSE(CheckCameras(options, cameras).has_value());
  for (int64_t camera = 20; camera < 40; ++camera) cameras[CameraId{camera}].insert({"raw", 7});
  const std::optional<TopicFinding> finding = CheckCameras(options, cameras);
  ASSERT_TRUE(finding.has_value());
  EXPECT_EQ(finding->value, "20");
  EXPECT_NE(finding->note.find("20 in 0 and 7"), std::string::npos) << finding->note;
  EXPECT_NE(finding->note.find("..."), std::string::npos) << finding->note;
}

TEST(Topics, OneALocation) {
  Settings options;
  options.kafka.topic = "raw_<location>";
  options.kafka.location_partitions = 2;
  TopicsNow now{.brokers = 1, .topics = {}, .locations = {{7}, {-8}}, .unread = {"raw_harbour"}};
  now.topics["raw_9"] = {.name = "raw_9", .id = "x", .partitions = 5, .replication = 1};
  const Result<TopicsPlan> plan = PlanTopics(options, false, now);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  std::map<std::string, int32_t> made;
  for (const auto& [name, spec] : plan.value().specs) made[name] = spec.partitions;
  EXPECT_EQ(made, (std::map<std::string, int32_t>{{"raw_-8", 2},
                                                  {"raw_7", 2},
                                                  {"raw_other", 2},
                                                  {"located_item_counts", 12},
                                                  {"dead_letters", 12},
                                                  {"late_detections", 12},
                                                  {"monitoring", 1},
                                                  {"alerts", 1}}));
  EXPECT_EQ(plan.value().specs.at("raw_7").settings.at("message.timestamp.type"), "LogAppendTime");
  // Only the settings of the existing topic are wrong. It may have any number of partitions.
  for (const TopicDifference& difference : plan.value().differences)
    if (difference.topic == "raw_9") {
      EXPECT_NE(difference.setting, "partitions");
      EXPECT_NE(difference.action, TopicAction::kMake);
    }
  const std::vector<TopicFinding> findings = CheckTopics(options, false, now);
  EXPECT_EQ(std::ranges::count(findings, "raw_harbour", &TopicFinding::topic), 1);
  EXPECT_EQ(std::ranges::count(findings, "raw_other", &TopicFinding::topic), 1);
  CameraPartitions cameras;
  cameras[CameraId{1}] = {{"raw_7", 0}, {"raw_9", 0}};
  EXPECT_NE(CheckCameras(options, cameras)->note.find("1 in 0 of 'raw_7' and 0 of 'raw_9'"),
            std::string::npos);
  for (const RightsOf who : {RightsOf::kUp, RightsOf::kCount, RightsOf::kServe, RightsOf::kProducer,
                             RightsOf::kTopics, RightsOf::kDoctor}) {
    const std::vector<TopicRight> rights = RightsNeeded(options, false, who);
    EXPECT_TRUE(std::ranges::any_of(rights, [](const TopicRight& right) {
      return right.name == "raw_" && right.prefixed && right.resource == "topic";
    }));
  }
}

TEST(Topics, RightsAreOfWhatTheOptionsName) {
  Settings options;
  options.kafka.topic = "raw";
  options.kafka.deployment = "north";
  options.kafka.publish = false;
  for (const TopicRight& right : RightsNeeded(options, false, RightsOf::kUp))
    EXPECT_EQ(right.name, "raw");
  options.kafka.publish = true;
  const TopicRight last = RightsNeeded(options, false, RightsOf::kUp).back();
  EXPECT_EQ(last.resource, "transactional-id");
  EXPECT_EQ(last.name, "north-kafka:");
  EXPECT_TRUE(last.prefixed);
}

TEST(Topics, AStepMayWriteOnlyWhatItWrites) {
  Settings options;
  options.kafka.deployment = "north";
  const auto writes = [&](RightsOf who) {
    std::vector<std::string> names;
    for (const TopicRight& right : RightsNeeded(options, true, who))
      if (right.operation == "Write") names.push_back(right.name);
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(writes(RightsOf::kJoin),
            (Names{"located_item_counts", "north-join-", "monitoring", "alerts"}));
  EXPECT_EQ(writes(RightsOf::kTransform),
            (Names{"lake_rows", "north-transform-", "monitoring", "alerts"}));
  EXPECT_EQ(writes(RightsOf::kStore), (Names{"monitoring", "alerts"}));
  EXPECT_EQ(writes(RightsOf::kDoctor), Names{});
}

TEST(Topics, AHandOverOfADataFolderReadsNoOtherTopic) {
  Settings options;
  options.kafka.deployment = "north";
  const auto named = [&](const CopyNames& copy) {
    std::vector<std::string> names;
    for (const TopicRight& right : RightsNeeded(options, false, RightsOf::kHandover, copy))
      names.push_back(right.operation + " " + right.name);
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(named({"", "new"}), (Names{"Read new", "Write new", "DescribeConfigs new",
                                       "Write north-handover-new", "Read north-handover-new"}));
  EXPECT_EQ(named({"old", "new"}),
            (Names{"Read old", "DescribeConfigs old", "Write new", "DescribeConfigs new",
                   "Write north-handover-new", "Read north-handover-new",
                   "Read located_item_counts", "DescribeConfigs located_item_counts"}));
}

}  // namespace
}  // namespace sightline
