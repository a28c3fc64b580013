#include "connectors/kafka/raw_topic_name.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <regex>
#include <set>
#include <string>

namespace sightline {
namespace {

RawTopicName Parsed(const std::string& text) {
  const Result<RawTopicName> name = RawTopicName::Parse(text);
  EXPECT_TRUE(name.ok()) << text;
  return name.value();
}

TEST(RawTopicName, OneName) {
  const RawTopicName name = Parsed("raw.camera_events");
  EXPECT_FALSE(name.by_location());
  EXPECT_EQ(name.text(), "raw.camera_events");
  EXPECT_EQ(name.Subscription(), "raw.camera_events");
  EXPECT_TRUE(name.Matches("raw.camera_events"));
  EXPECT_FALSE(name.Matches("raw.camera_events_7"));
}

TEST(RawTopicName, ByLocation) {
  const RawTopicName name = Parsed("raw_camera_events_<location>.v1");
  EXPECT_TRUE(name.by_location());
  EXPECT_EQ(name.text(), "raw_camera_events_<location>.v1");
  EXPECT_EQ(name.prefix(), "raw_camera_events_");
  EXPECT_EQ(name.Of(LocationId{-3}), "raw_camera_events_-3.v1");
  EXPECT_EQ(name.Other(), "raw_camera_events_other.v1");
}

// What is subscribed to holds all that matches.
TEST(RawTopicName, MatchesOidsAndOther) {
  const RawTopicName name = Parsed("raw.<location>-x");
  const std::regex subscription(name.Subscription());
  for (const std::string topic : {"raw.0-x", "raw.7-x", "raw.-9223372036854775808-x",
                                  "raw.9223372036854775807-x", "raw.other-x"}) {
    EXPECT_TRUE(name.Matches(topic)) << topic;
    EXPECT_TRUE(std::regex_search(topic, subscription)) << topic;
  }
  for (const std::string topic :
       {"raw.-x", "raw-x", "raw.07-x", "raw.+7-x", "raw.-0-x", "raw.9223372036854775808-x", "raw.7",
        "raw.7-xy", "rawx7-x", "raw.harbour-x", "raw.others-x", "raw.--x", ""})
    EXPECT_FALSE(name.Matches(topic)) << topic;
  EXPECT_FALSE(std::regex_search("rawx7-x", subscription));
  EXPECT_FALSE(std::regex_search("a.raw.7-x", subscription));
}

TEST(RawTopicName, RefusesWhatKafkaWould) {
  for (const std::string& text :
       {std::string(), std::string("."), std::string(".."), std::string("a b"), std::string("a/b"),
        std::string("<location>"), std::string("a_<location>_<location>"),
        std::string("a_<camera>"), std::string(250, 'a'), std::string(230, 'a') + "<location>"})
    EXPECT_FALSE(RawTopicName::Parse(text).ok()) << text;
  EXPECT_TRUE(RawTopicName::Parse(std::string(249, 'a')).ok());
  EXPECT_TRUE(RawTopicName::Parse(std::string(229, 'a') + "<location>").ok());
}

TEST(CountsPartition, SpreadsTopicsAndKeepsTheirPartitionsApart) {
  std::set<int32_t> seen;
  for (int location = 0; location < 200; ++location) {
    const std::string topic = Parsed("raw_<location>").Of(LocationId{location});
    std::set<int32_t> of_topic;
    for (int32_t p = 0; p < 12; ++p) of_topic.insert(CountsPartitionOf(topic, p, 12));
    EXPECT_EQ(of_topic.size(), 12u);
    seen.insert(CountsPartitionOf(topic, 0, 12));
  }
  EXPECT_EQ(seen.size(), 12u);
}

}  // namespace
}  // namespace sightline
