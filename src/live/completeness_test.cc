#include "live/completeness.h"

#include <gtest/gtest.h>

#include <map>

namespace sightline {
namespace {

const SourcePartition kA{"log", 0}, kB{"log", 1};
constexpr EventTime kStart{1'000'000};

class CompletenessTest : public testing::Test {
 protected:
  EventTime At(int64_t after_ms) { return kStart + Millis{after_ms}; }
  void Append(const SourcePartition& partition, int64_t after_ms) {
    ends_[partition] = {{ends_[partition].next.v + 1}, {At(after_ms).v}};
  }
  // As a process that starts: it knows what is durable, and nothing of the process before it.
  Completeness Started() {
    return Completeness({30'000}, {10'000},
                        [this](const SourcePartition& partition) { return ends_[partition]; });
  }
  std::map<SourcePartition, LogEnd> ends_;
  Completeness complete_ = Started();
};

TEST_F(CompletenessTest, NothingKnownIsNothingComplete) {
  EXPECT_EQ(complete_.CompleteUntil(At(1'000'000)), kBeforeAllTime);
}

TEST_F(CompletenessTest, LeastOfThePartitions) {
  for (const SourcePartition& partition : {kA, kB}) Append(partition, 0);
  complete_.OnCounted(kA, {1}, {500});
  complete_.OnCounted(kB, {1}, {400});
  EXPECT_EQ(complete_.CompleteUntil(At(0)), Watermark{400});
  complete_.OnCounted(kB, {1}, {300});  // never goes back
  EXPECT_EQ(complete_.CompleteUntil(At(0)), Watermark{400});
  complete_.OnCounted(kB, {1}, {900});
  EXPECT_EQ(complete_.CompleteUntil(At(0)), Watermark{500});
}

TEST_F(CompletenessTest, IdleOnlyAtItsEndAndAfterTheTimeout) {
  Append(kA, 0);
  Append(kA, 0);
  complete_.OnCounted(kA, {1}, {500});
  EXPECT_EQ(complete_.CompleteUntil(At(60'000)), Watermark{500});  // one is not counted yet
  complete_.OnCounted(kA, {2}, {500});
  EXPECT_EQ(complete_.CompleteUntil(At(29'999)), Watermark{500});
  EXPECT_EQ(complete_.CompleteUntil(At(30'000)), At(-10'000));
  EXPECT_EQ(complete_.CompleteUntil(At(90'000)), At(50'000));
  Append(kA, 90'000);  // will speak again: until then nothing is taken back, and no more is told
  EXPECT_EQ(complete_.CompleteUntil(At(95'000)), At(50'000));
  complete_.OnCounted(kA, {3}, {600});  // its own word counts
  EXPECT_EQ(complete_.CompleteUntil(At(90'000)), Watermark{600});
  EXPECT_EQ(complete_.CompleteUntil(At(120'000)), At(80'000));
}

TEST_F(CompletenessTest, NeverFedIsIdleAtOnce) {
  Append(kA, 0);
  complete_.OnCounted(kA, {1}, At(-10'000));
  EXPECT_EQ(complete_.CompleteUntil(At(0)), At(-10'000));
  complete_.OnCounted(kB, {-1}, kBeforeAllTime);
  EXPECT_EQ(complete_.CompleteUntil(At(0)), At(-40'000));
}

TEST_F(CompletenessTest, WhatTellsNoTimeTakesNothingBack) {
  Append(kA, 0);
  complete_.OnCounted(kA, {1}, At(-10'000));
  complete_.OnCounted(kB, {-1}, kBeforeAllTime);
  EXPECT_EQ(complete_.CompleteUntil(At(0)), At(-40'000));
  Append(kB, 1'000);  // a malformed one
  EXPECT_EQ(complete_.CompleteUntil(At(1'000)), At(-40'000));
  complete_.OnCounted(kB, {1}, kBeforeAllTime);
  EXPECT_EQ(complete_.CompleteUntil(At(1'000)), At(-39'000));
  EXPECT_EQ(complete_.CompleteUntil(At(60'000)), At(20'000));
  Append(kA, 60'000);
  complete_.OnCounted(kA, {2}, At(-10'000));  // malformed, or an old one
  EXPECT_EQ(complete_.CompleteUntil(At(70'000)), At(20'000));
  Completeness again = Started();
  again.OnCounted(kA, {2}, At(50'000));
  again.OnCounted(kB, {1}, kBeforeAllTime);
  EXPECT_EQ(again.CompleteUntil(At(70'000)), At(30'000));
}

TEST_F(CompletenessTest, ARestartTakesNothingBack) {
  Append(kA, 0);
  Append(kB, 59'000);
  complete_.OnCounted(kA, {1}, At(-10'000));
  complete_.OnCounted(kB, {1}, At(49'000));
  const Watermark shown = complete_.CompleteUntil(At(60'000));
  EXPECT_EQ(shown, At(20'000));
  // The newest record of kB had been shown, and its count was not committed yet.
  Completeness again = Started();
  again.OnCounted(kA, {1}, At(-10'000));
  again.OnCounted(kB, {0}, At(45'000));
  EXPECT_GE(again.CompleteUntil(At(60'000)), shown);
  again.OnCounted(kB, {1}, At(49'000));
  EXPECT_EQ(again.CompleteUntil(At(60'000)), shown);
}

TEST_F(CompletenessTest, ARestartClaimsNothingOfWhatIsStillToBeCounted) {
  Append(kA, 0);
  Append(kB, 0);
  Completeness again = Started();
  again.OnCounted(kA, {1}, At(-10'000));
  again.OnCounted(kB, {-1}, kBeforeAllTime);
  EXPECT_EQ(again.CompleteUntil(At(600'000)), kBeforeAllTime);
  again.OnCounted(kB, {1}, At(-5'000));
  EXPECT_EQ(again.CompleteUntil(At(600'000)), At(560'000));
}

TEST_F(CompletenessTest, IdleIsNeverLowerThanItsOwnWatermark) {
  Append(kA, 0);
  complete_.OnCounted(kA, {1}, At(55'000));
  EXPECT_EQ(complete_.CompleteUntil(At(60'000)), At(55'000));
}

TEST_F(CompletenessTest, ClockThatStepsBackMakesNobodyIdle) {
  Append(kA, 100'000);
  complete_.OnCounted(kA, {1}, {500});
  EXPECT_EQ(complete_.CompleteUntil(At(50'000)), Watermark{500});
}

}  // namespace
}  // namespace sightline
