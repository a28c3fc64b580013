#include "monitor/activity.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sightline {
namespace {

Ledger Of(Outcome outcome, int64_t events) {
  Ledger ledger{.received = events};
  ledger.outcomes[static_cast<size_t>(outcome)] = events;
  return ledger;
}

Segment Seen(int64_t location, int64_t camera, const Ledger& ledger) {
  return {.ledger = {{.key = {.location = {location}, .camera = {camera}}, .ledger = ledger}}};
}

MonitorSample Fill(Activity& activity, int64_t now_ms) {
  MonitorSample sample;
  activity.Fill(now_ms, sample);
  std::ranges::sort(sample.cameras, {}, &CameraSample::camera);
  return sample;
}

const SourcePartition kFirst{"s", 0}, kSecond{"s", 1};

TEST(Activity, AddsUpWhatSegmentsSay) {
  Activity activity(10, Millis{100'000});
  activity.Count(kFirst, Seen(7, 71, Of(Outcome::kCounted, 3)), 1'000);
  activity.Count(kFirst, Seen(8, 71, Of(Outcome::kFuture, 2)), 2'000);
  activity.Count(kSecond, Seen(7, 72, Of(Outcome::kTooLate, 1)), 3'000);
  Segment unknown{.ledger = {{.key = {.known = false}, .ledger = Of(Outcome::kMalformed, 5)}}};
  activity.Count(kSecond, unknown, 4'000);
  const MonitorSample sample = Fill(activity, 5'000);
  ASSERT_EQ(sample.cameras.size(), 2);
  EXPECT_EQ(sample.cameras[0].location, LocationId{8});
  EXPECT_EQ(sample.cameras[0].received, 5);
  EXPECT_EQ(sample.cameras[0].future, 2);
  EXPECT_EQ(sample.cameras[0].last_seen_ms, 2'000);
  EXPECT_EQ(sample.cameras[1].too_late, 1);
  EXPECT_EQ(sample.locations.size(), 2);
  EXPECT_EQ(sample.ledger->received, 11);
  EXPECT_EQ(sample.ledger->of(Outcome::kMalformed), 5);
}

TEST(Activity, CountsWithoutCamerasHearTheirLocations) {
  Activity activity(10, Millis{100'000});
  activity.Count(kFirst, {.counts = {{.key = {.location = {9}}, .count = 1}}}, 1'000);
  const MonitorSample sample = Fill(activity, 1'000);
  ASSERT_EQ(sample.locations.size(), 1);
  EXPECT_EQ(sample.locations[0].location, LocationId{9});
  EXPECT_TRUE(sample.cameras.empty());
}

TEST(Activity, TellsWhoIsInTwoPartitions) {
  Activity activity(10, Millis{1'000'000});
  const auto hear = [&](const SourcePartition& from, int64_t camera, int64_t now_ms) {
    activity.Count(from, Seen(7, camera, Of(Outcome::kCounted, 1)), now_ms);
  };
  // One that moves once, one that goes forth and back, one whose topic was made again.
  hear(kFirst, 71, 1'000);
  hear(kFirst, 72, 1'000);
  hear({"before", 5}, 73, 1'000);
  hear(kSecond, 71, 2'000);
  hear(kSecond, 72, 2'000);
  hear({"after", 6}, 73, 2'000);
  EXPECT_TRUE(Fill(activity, 2'000).splits.empty());
  hear(kSecond, 71, 3'000);
  hear(kFirst, 72, 3'000);
  hear({"before", 5}, 73, 3'000);
  const std::vector<SplitSample> splits = Fill(activity, 63'000).splits;
  ASSERT_EQ(splits.size(), 1);
  EXPECT_EQ(splits[0].camera, CameraId{72});
  EXPECT_EQ(splits[0].location, LocationId{7});
  EXPECT_EQ(splits[0].first, 0);
  EXPECT_EQ(splits[0].second, 1);
  EXPECT_TRUE(Fill(activity, 63'001).splits.empty());
  hear(kSecond, 72, 62'000);
  EXPECT_EQ(Fill(activity, 64'000).splits.size(), 1);
  activity.ForgetSplits();
  EXPECT_TRUE(Fill(activity, 64'000).splits.empty());
  hear(kFirst, 72, 200'000);  // long after: it has moved
  EXPECT_TRUE(Fill(activity, 200'000).splits.empty());
}

TEST(Activity, ForgetsWhoIsSilentAndWhoIsHeardElsewhere) {
  Activity activity(10, Millis{10'000});
  activity.Expect(LocationId{6}, 500);
  activity.Count(kFirst, Seen(7, 71, Of(Outcome::kCounted, 1)), 1'000);
  activity.Count(kSecond, Seen(8, 72, Of(Outcome::kCounted, 1)), 1'000);
  EXPECT_EQ(Fill(activity, 10'500).locations.size(), 3);
  EXPECT_EQ(Fill(activity, 11'000).locations.size(), 2);
  activity.Forget({"s", 1});
  ASSERT_EQ(Fill(activity, 11'000).cameras.size(), 1);
  EXPECT_EQ(Fill(activity, 11'000).cameras[0].camera, CameraId{71});
  EXPECT_TRUE(Fill(activity, 11'001).cameras.empty());
}

TEST(Activity, IsBounded) {
  Activity activity(3, Millis{10'000});
  for (int64_t camera = 0; camera < 10; ++camera)
    activity.Count(kFirst, Seen(camera, camera, Of(Outcome::kCounted, 1)), 1'000);
  const MonitorSample sample = Fill(activity, 1'000);
  EXPECT_EQ(sample.cameras.size(), 3);
  EXPECT_EQ(sample.locations.size(), 3);
  EXPECT_EQ(activity.untracked(), 14);
  EXPECT_EQ(sample.ledger->received, 10);
}

}  // namespace
}  // namespace sightline
