#include "live/completeness.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

const SourcePartition kA{"log", 0}, kB{"log", 1};
constexpr EventTime kStart{1'000'000};

class CompletenessTest : public testing::Test {
 protected:
  EventTime At(int64_t after_ms) { return kStart + Millis{after_ms}; }
  Completeness complete_{{30'000}, {10'000}, kStart};
};

TEST_F(CompletenessTest, NothingKnownIsNothingComplete) {
  EXPECT_EQ(complete_.CompleteUntil(At(1'000'000)), kBeforeAllTime);
}

TEST_F(CompletenessTest, LeastOfThePartitions) {
  complete_.OnRecords(kA, {500}, At(0));
  complete_.OnRecords(kB, {400}, At(0));
  EXPECT_EQ(complete_.CompleteUntil(At(0)), Watermark{400});
  complete_.OnRecords(kB, {300}, At(0));  // never goes back
  EXPECT_EQ(complete_.CompleteUntil(At(0)), Watermark{400});
  complete_.OnRecords(kB, {900}, At(0));
  EXPECT_EQ(complete_.CompleteUntil(At(0)), Watermark{500});
}

TEST_F(CompletenessTest, IdleOnlyAtItsEndAndAfterTheTimeout) {
  complete_.OnRecords(kA, {500}, At(0));
  EXPECT_EQ(complete_.CompleteUntil(At(60'000)),
            Watermark{500});  // nobody said that it is at its end
  EXPECT_TRUE(complete_.SetAtEnd(kA, true));
  EXPECT_FALSE(complete_.SetAtEnd(kA, true));
  EXPECT_EQ(complete_.CompleteUntil(At(29'999)), Watermark{500});
  EXPECT_EQ(complete_.CompleteUntil(At(30'000)), At(-10'000));
  EXPECT_EQ(complete_.CompleteUntil(At(90'000)), At(50'000));
  complete_.OnRecords(kA, {600}, At(90'000));  // speaks again: its own word counts
  EXPECT_EQ(complete_.CompleteUntil(At(90'000)), Watermark{600});
  EXPECT_TRUE(complete_.SetAtEnd(kA, false));
  EXPECT_EQ(complete_.CompleteUntil(At(900'000)), Watermark{600});
}

TEST_F(CompletenessTest, IdleIsNeverLowerThanItsOwnWatermark) {
  complete_.OnRecords(kA, At(55'000), At(0));
  complete_.SetAtEnd(kA, true);
  EXPECT_EQ(complete_.CompleteUntil(At(60'000)), At(55'000));
}

TEST_F(CompletenessTest, NeverFedIsIdleSinceTheStart) {
  complete_.OnLoaded(kA, kBeforeAllTime);
  complete_.OnLoaded(kB, {700});
  EXPECT_EQ(complete_.CompleteUntil(At(29'999)), kBeforeAllTime);
  EXPECT_EQ(complete_.CompleteUntil(At(30'000)), At(-10'000));
  complete_.SetAtEnd(kB, false);  // but not when it is known to be behind
  EXPECT_EQ(complete_.CompleteUntil(At(30'000)), Watermark{700});
}

TEST_F(CompletenessTest, ClockThatStepsBackMakesNobodyIdle) {
  complete_.OnRecords(kA, {500}, At(100'000));
  complete_.SetAtEnd(kA, true);
  EXPECT_EQ(complete_.CompleteUntil(At(50'000)), Watermark{500});
}

}  // namespace
}  // namespace sightline
