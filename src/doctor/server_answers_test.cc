#include "doctor/server_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

using testing::HasSubstr;

constexpr std::string_view kHealthz =
    R"({"status":"degraded","reasons":["the disk is full"],"boot":"k3"})";
constexpr std::string_view kLedger =
    R"([{"video_camera_oid":7,"received":10,"counted":4,"duplicate":3,"too_late":2,"future":0,"malformed":1,"conflicts":3,"lost":0},
        {"video_camera_oid":8,"received":5,"counted":5,"duplicate":0,"too_late":0,"future":0,"malformed":0,"conflicts":0,"lost":0}])";
constexpr std::string_view kAlerts =
    R"({"version":1,"alerts":[{"rule":"camera_silent","subject":"camera 7","text":"nothing from camera 7"}]})";

TEST(ServerAnswers, AreDiagnosed) {
  EXPECT_TRUE(IsHealthAnswer(kHealthz));
  const Result<Diagnosis> diagnosis =
      DiagnoseServer({.healthz = kHealthz, .ledger = kLedger, .alerts = kAlerts});
  ASSERT_TRUE(diagnosis.ok()) << diagnosis.status().message();
  const std::string text = FormatText(diagnosis.value());
  EXPECT_THAT(text, HasSubstr("received 15 events of 2 cameras and counted 9"));
  EXPECT_THAT(text, HasSubstr("the disk is full"));
  EXPECT_THAT(text, HasSubstr("2 are `too_late`: camera 7 2"));
  EXPECT_THAT(text, HasSubstr("3 are `conflicts`: camera 7 3"));
  EXPECT_THAT(text, HasSubstr("trouble: alert.camera_silent\n  nothing from camera 7"));
}

TEST(ServerAnswers, OfOthersAreRefused) {
  EXPECT_FALSE(IsHealthAnswer("<html>"));
  EXPECT_FALSE(IsHealthAnswer(R"({"status":"UP"})"));
  EXPECT_FALSE(DiagnoseServer({.healthz = kHealthz, .ledger = "{}", .alerts = kAlerts}).ok());
  EXPECT_FALSE(DiagnoseServer({.healthz = kHealthz, .ledger = kLedger, .alerts = "no"}).ok());
}

}  // namespace
}  // namespace sightline
