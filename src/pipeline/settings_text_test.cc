#include "pipeline/settings_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// What an operator may change, one at a time, and how the difference reads.
struct Change {
  std::function<void(PipelineSpec&)> make;
  std::string says;
};
const std::vector<Change> kChanges = {
    {[](PipelineSpec& s) { s.decode.timestamp_unit = TimeUnit::kSeconds; },
     "pipeline.timestamp_unit was ms and is s now"},
    {[](PipelineSpec& s) { s.identity = Identity::kCameraAndDetection; },
     "pipeline.identity was detection and is camera_and_detection now"},
    {[](PipelineSpec& s) { s.window_size = {300'000}; },
     "pipeline.window_size was 60000 ms and is 300000 ms now"},
    {[](PipelineSpec& s) { s.pane_size = {5'000}; },
     "pipeline.pane_size was 10000 ms and is 5000 ms now"},
    {[](PipelineSpec& s) { s.out_of_orderness = {1}; },
     "pipeline.out_of_orderness was 10000 ms and is 1 ms now"},
    {[](PipelineSpec& s) { s.dedup_horizon = {7'200'000}; },
     "pipeline.dedup_horizon was 3600000 ms and is 7200000 ms now"},
    {[](PipelineSpec& s) { s.future_tolerance = {0}; },
     "pipeline.future_tolerance was 60000 ms and is 0 ms now"},
    {[](PipelineSpec& s) { s.max_age.reset(); },
     "pipeline.max_age was 604800000 ms and is off now"},
    {[](PipelineSpec& s) { s.camera_ttl = {864'000'000}; },
     "pipeline.camera_ttl was 691200000 ms and is 864000000 ms now"},
    {[](PipelineSpec& s) { s.watermark_step = WatermarkStep::kBounded; },
     "pipeline.watermark_step was free and is bounded now"},
    {[](PipelineSpec& s) { s.decode.detection_ids = DetectionIds::kInteger; },
     "pipeline.detection_ids was any and is integer now"},
    {[](PipelineSpec& s) { s.decode.version = Decoding::kFirst; },
     "pipeline.decoding was 2 and is 1 now"},
    {[](PipelineSpec& s) { s.decode.item_names = ItemNames::kNfc; },
     "pipeline.item_names was as_sent and is nfc now"},
    {[](PipelineSpec& s) { s.decode.timestamp_zone = "UTC"; },
     "pipeline.timestamp_zone was none and is UTC now"},
};

TEST(SettingsText, IsItsOwn) {
  EXPECT_TRUE(CompareSettings(SettingsText({}), {}).ok());
  for (const Change& change : kChanges) {
    PipelineSpec spec;
    change.make(spec);
    EXPECT_TRUE(CompareSettings(SettingsText(spec), spec).ok()) << change.says;
  }
}

TEST(SettingsText, NamesEveryChange) {
  PipelineSpec all;
  for (const Change& change : kChanges) {
    PipelineSpec spec;
    change.make(spec);
    change.make(all);
    // What the fingerprint does not tell apart needs no line, and the other way round.
    EXPECT_NE(spec.Fingerprint(), PipelineSpec().Fingerprint()) << change.says;
    const Status status = CompareSettings(SettingsText({}), spec);
    EXPECT_EQ(status.code(), StatusCode::kStop);
    EXPECT_EQ(status.message(), change.says);
  }
  const Status status = CompareSettings(SettingsText({}), all);
  for (const Change& change : kChanges) EXPECT_THAT(status.message(), HasSubstr(change.says));
}

TEST(SettingsText, TheRangeHasItsOwnRule) {
  PipelineSpec spec;
  spec.count_from = {5};
  spec.count_until = {7};
  EXPECT_TRUE(CompareSettings(SettingsText({}), spec).ok());
}

// So a folder of a version without the setting stays valid, and such a version can still read a
// folder in which the setting is at its default.
TEST(SettingsText, ADefaultThatALaterVersionAddedIsNotWritten) {
  EXPECT_EQ(SettingsText({}).find("watermark_step"), std::string::npos);
  PipelineSpec oldest;
  oldest.decode = kOldestRules;
  EXPECT_EQ(oldest.Fingerprint(), 0x710ddff667112ca1ull) << "that of all versions so far";
  EXPECT_EQ(SettingsText(oldest).find("decoding"), std::string::npos);
  EXPECT_EQ(SettingsText(oldest).find("detection_ids"), std::string::npos);
  PipelineSpec bounded;
  bounded.watermark_step = WatermarkStep::kBounded;
  EXPECT_THAT(SettingsText(bounded), HasSubstr("pipeline.watermark_step = bounded\n"));
  EXPECT_EQ(CompareSettings(SettingsText(bounded), {}).message(),
            "pipeline.watermark_step was bounded and is free now");
}

TEST(SettingsText, TellsALaterVersionsSetting) {
  const Status status = CompareSettings(SettingsText({}) + "pipeline.camera_clock = guarded\n", {});
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("pipeline.camera_clock is guarded"),
                                      HasSubstr("run the version that wrote it")));
}

TEST(SettingsText, TellsDamage) {
  const std::string text = SettingsText({});
  for (size_t size = 0; size < text.size(); ++size) {
    const Status status = CompareSettings(text.substr(0, size), {});
    EXPECT_EQ(status.code(), StatusCode::kStop) << size;
  }
  EXPECT_FALSE(CompareSettings(text + "noise\n", {}).ok());
}

}  // namespace
}  // namespace sightline
