#include "pipeline/spec.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

TEST(PipelineSpec, DefaultsAreValid) { EXPECT_TRUE(PipelineSpec{}.Validate().ok()); }

TEST(PipelineSpec, NamesEveryBrokenRule) {
  PipelineSpec spec;
  spec.pane_size = {7'000};
  spec.camera_ttl = {1'000};
  spec.count_from = spec.count_until;
  const Status status = spec.Validate();
  ASSERT_EQ(status.code(), StatusCode::kStop);
  for (const char* word : {"pane_size 7000", "camera_ttl 1000", "count_from"})
    EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
}

TEST(PipelineSpec, LengthsThatWouldOverflowAreRefused) {
  PipelineSpec spec;
  spec.dedup_horizon = {INT64_MAX};
  EXPECT_FALSE(spec.Validate().ok());
  spec.dedup_horizon = {-1};
  EXPECT_FALSE(spec.Validate().ok());
  spec = {};
  spec.max_age = Millis{INT64_MAX};
  EXPECT_FALSE(spec.Validate().ok());
}

TEST(PipelineSpec, IdsAreRememberedForFortyDaysAtMost) {
  constexpr Millis kDay{86'400'000};
  PipelineSpec spec;
  spec.dedup_horizon = {40 * kDay.v - spec.out_of_orderness.v};
  EXPECT_TRUE(spec.Validate().ok()) << spec.Validate().message();
  spec.dedup_horizon = spec.dedup_horizon + Millis{1};
  EXPECT_NE(spec.Validate().message().find("lower dedup_horizon"), std::string::npos);
}

TEST(PipelineSpec, ExplainSaysTheNumbers) {
  PipelineSpec spec;
  spec.max_age.reset();
  const std::string text = spec.Explain();
  EXPECT_NE(text.find("the 1 min window"), std::string::npos) << text;
  EXPECT_NE(text.find("max_age is off"), std::string::npos) << text;
  EXPECT_EQ(text.find("without append time"), std::string::npos) << text;
  spec.watermark_step = WatermarkStep::kBounded;
  EXPECT_NE(spec.Explain().find("by at most 1 h beyond"), std::string::npos) << spec.Explain();
}

TEST(PipelineSpec, FingerprintFollowsWhatChangesResults) {
  PipelineSpec a, b;
  EXPECT_EQ(a.Fingerprint(), b.Fingerprint());
  b.dedup_horizon = {1};
  EXPECT_NE(a.Fingerprint(), b.Fingerprint());
}

}  // namespace
}  // namespace sightline
