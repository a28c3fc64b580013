#include "admin/handover_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>
#include <vector>

namespace sightline {
namespace {

using testing::HasSubstr;
using enum HandoverCheck::Verdict;

constexpr EventTime kAt{1'763'812'800'000};  // 2025-11-22T12:00:00Z
constexpr int64_t kHour = 3'600'000;

// A data folder that can be handed over, with nothing to remark.
HandoverFacts Good() {
  HandoverFacts facts{.at = kAt, .now_ms = kAt.v + 2 * kHour};
  facts.embedded = true;
  facts.from = "'data'";
  facts.data = "data";
  facts.brokers = "k:9092";
  facts.to = "raw";
  facts.to_exists = facts.to_log_append_time = facts.to_empty = true;
  facts.to_partitions = 5;
  facts.count_until = kAt;
  facts.bytes_a_record = 100;
  for (const int64_t earliest : {0, 70})
    facts.partitions.push_back({.earliest = {earliest},
                                .from = {100},
                                .end = {300},
                                .oldest = {kAt.v - 3 * kHour},
                                .newest = {kAt.v + kHour},
                                .counted = Offset{300},
                                .watermark = kAt + Millis{kHour}});
  return facts;
}

// The worst that is said of `subject`.
HandoverCheck Worst(const HandoverFacts& facts, const std::string& subject) {
  HandoverCheck worst{.subject = "nothing is said"};
  for (const HandoverCheck& check : PlanHandover(facts).checks)
    if (check.subject == subject && (worst.said.empty() || check.verdict > worst.verdict))
      worst = check;
  return worst;
}

TEST(HandoverPlan, WhatIsGoodHasNothingToRemark) {
  const HandoverPlan plan = PlanHandover(Good());
  for (const HandoverCheck& check : plan.checks) EXPECT_EQ(check.verdict, kOk) << check.said;
  EXPECT_TRUE(plan.ok());
  EXPECT_EQ(plan.records, 400);
  EXPECT_EQ(plan.bytes, 40'000);
  EXPECT_EQ(plan.first, (AppendTime{kAt.v - kHour - 60'000}));
  EXPECT_EQ(plan.last, (AppendTime{kAt.v + kHour}));
  ASSERT_FALSE(plan.options.empty());
  EXPECT_EQ(plan.options[0], "--pipeline.count_from 2025-11-22T12:00:00Z");
}

TEST(HandoverPlan, WhatWouldLoseOrDoubleSomethingFails) {
  const std::vector<std::tuple<const char*, const char*, std::function<void(HandoverFacts&)>>>
      cases = {
          {"time", "12:01:00Z", [](HandoverFacts& f) { f.at.v += 1; }},
          {"count_until", "without an end",
           [](HandoverFacts& f) { f.count_until = kAfterAllTime; }},
          {"count_until", "11:59:00Z",
           [](HandoverFacts& f) { f.count_until = kAt - Millis{60'000}; }},
          {"counted", "50 records",
           [](HandoverFacts& f) { f.partitions[1].counted = Offset{250}; }},
          {"counted", "lake lacks",
           [](HandoverFacts& f) { f.partitions[1].lacking = "lake lacks"; }},
          {"watermark", "1000 ms before",
           [](HandoverFacts& f) {
             for (auto& p : f.partitions) p.watermark = kAt - Millis{1'000};
           }},
          {"watermark", "has none",
           [](HandoverFacts& f) {
             for (auto& p : f.partitions) p.watermark = kBeforeAllTime;
           }},
          {"retention", "partition 1 has records since",
           [](HandoverFacts& f) { f.partitions[1].oldest = {kAt.v - kHour}; }},
          {"retention", "is empty and was not",
           [](HandoverFacts& f) {
             f.partitions[1].oldest = f.partitions[1].newest = kNoAppendTime;
           }},
          {"age", "max_age 7d", [](HandoverFacts& f) { f.now_ms = kAt.v + 7 * 24 * kHour; }},
          {"topic", "--kafka.partitions 2",
           [](HandoverFacts& f) { f.to_exists = false, f.to_partitions = 0; }},
          {"topic", "compacted", [](HandoverFacts& f) { f.to_compacted = true; }},
          {"topic", "LogAppendTime", [](HandoverFacts& f) { f.to_log_append_time = false; }},
          {"topic", "fewer than the 2", [](HandoverFacts& f) { f.to_partitions = 1; }},
          {"begun", "count twice", [](HandoverFacts& f) { f.to_empty = false; }},
          {"begun", "of another", [](HandoverFacts& f) { f.something_else = "of another"; }},
      };
  for (const auto& [subject, words, spoil] : cases) {
    HandoverFacts facts = Good();
    spoil(facts);
    const HandoverCheck worst = Worst(facts, subject);
    EXPECT_EQ(worst.verdict, kFailed) << subject << ": " << worst.said;
    EXPECT_THAT(worst.said, HasSubstr(words));
    EXPECT_FALSE(PlanHandover(facts).ok());
  }
}

TEST(HandoverPlan, WhatIsNotKnownOrMayStillComeIsAWarning) {
  HandoverFacts facts = Good();
  facts.count_until.reset();
  EXPECT_EQ(Worst(facts, "count_until").verdict, kWarning);
  facts = Good();
  for (auto& p : facts.partitions) p.watermark = kAt + Millis{60'000};
  EXPECT_EQ(Worst(facts, "watermark").verdict, kWarning);
  EXPECT_THAT(Worst(facts, "watermark").said, HasSubstr("2025-11-22T13:00:00Z"));
  EXPECT_TRUE(PlanHandover(facts).ok());
}

TEST(HandoverPlan, ATopicIsCopiedWhileTheOldPipelineGoesOn) {
  HandoverFacts facts = Good();
  facts.embedded = false;
  facts.from = "raw_2";
  facts.now_ms = kAt.v - kHour;
  facts.count_until = kAfterAllTime;
  for (auto& p : facts.partitions) {
    p.watermark = kAt - Millis{kHour};
    p.counted = Offset{200};
    p.oldest = {kAt.v - 4 * kHour};
  }
  EXPECT_TRUE(PlanHandover(facts).ok()) << "there is still time for everything";
  for (const char* subject : {"count_until", "counted", "watermark"})
    EXPECT_EQ(Worst(facts, subject).verdict, kWarning) << subject;
  EXPECT_EQ(PlanHandover(facts).steps.size(), 5u);
  facts.until_end = true;
  EXPECT_EQ(Worst(facts, "watermark").verdict, kFailed);
  facts.until_end = false;
  for (auto& p : facts.partitions) p.watermark = kAt;
  EXPECT_EQ(Worst(facts, "count_until").verdict, kFailed) << "both count from T on";
}

TEST(HandoverPlan, WhatIsCopiedAlreadyIsNotLeft) {
  HandoverFacts facts = Good();
  facts.to_empty = false;
  facts.copied = {{{300}, {250}}};
  EXPECT_TRUE(PlanHandover(facts).ok());
  EXPECT_EQ(PlanHandover(facts).records, 50);
}

TEST(HandoverPlan, TimesAreWrittenAsTheyAreRead) {
  EXPECT_EQ(TimeText(kAt), "2025-11-22T12:00:00Z");
  EXPECT_EQ(TimeText(EventTime{-1}), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace sightline
