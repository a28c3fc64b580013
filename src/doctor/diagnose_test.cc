#include "doctor/diagnose.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/murmur2.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr int64_t kBase = 1'763'800'020'000;  // a whole minute
constexpr int64_t kSecondMs = 1'000, kMinuteMs = 60'000, kHourMs = 3'600'000, kDayMs = 86'400'000;

struct Detected {
  int64_t camera = 1, location = 7;
  std::string id = "1", item = "car", time = std::to_string(kBase);
};

std::string Line(const Detected& d) {
  return fmt::format(
      R"({{"geographical_location_oid":{},"video_camera_oid":{},"detection_oid":{},"item_name":"{}","timestamp_detected":{}}})"
      "\n",
      d.location, d.camera, d.id, d.item, d.time);
}
std::string At(int64_t camera, int64_t id, int64_t ms, const std::string& item = "car") {
  return Line({.camera = camera,
               .id = std::to_string(id),
               .item = item,
               .time = std::to_string(kBase + ms)});
}

// Builds a sample out of messages, and what the doctor says of it.
class DoctorTest : public testing::Test {
 protected:
  void Add(const std::string& bytes, AppendTime append_time = kNoAppendTime,
           std::optional<int32_t> partition = std::nullopt,
           std::optional<std::string> key = std::nullopt) {
    const std::string padded = bytes + std::string(kDecodePadding, 'x');
    SampleMessage message{.bytes = std::string_view(padded).substr(0, bytes.size()),
                          .append_time = append_time,
                          .partition = partition,
                          .place = place_++};
    if (key) message.key = *key;
    sample_.Add(message);
  }
  // Adds a record that was appended `late` ms after its time.
  void AddAppended(int64_t camera, int64_t id, int64_t ms, int64_t late) {
    Add(At(camera, id, ms), AppendTime{kBase + ms + late}, 0, std::to_string(camera));
  }
  const Diagnosis& Look() {
    sample_.Finish();
    diagnosis_ = Diagnose(sample_, facts_);
    return diagnosis_;
  }
  // The only finding of the subject.
  Finding Of(const std::string& subject) {
    Finding found;
    int findings = 0;
    for (const Finding& finding : diagnosis_.findings)
      if (finding.subject == subject && ++findings == 1) found = finding;
    EXPECT_EQ(findings, 1) << subject << " in\n" << FormatText(diagnosis_);
    return found;
  }
  std::vector<std::string> Troubles() const {
    std::vector<std::string> subjects;
    for (const Finding& finding : diagnosis_.findings)
      if (finding.severity == Severity::kTrouble) subjects.push_back(finding.subject);
    return subjects;
  }
  std::string Config() const { return FormatConfig(diagnosis_, facts_); }

  SourceFacts facts_{.now_ms = kBase + kDayMs};
  Sample sample_{Sample::Options{.partitions = 4}};

 private:
  Diagnosis diagnosis_;
  int64_t place_ = 1;
};

TEST_F(DoctorTest, SaysNothingOfGoodDetections) {
  for (int i = 0; i < 100; ++i) Add(At(1 + i % 3, 5'000 + i, i * kSecondMs));
  Look();
  EXPECT_THAT(Troubles(), IsEmpty()) << FormatText(Look());
  EXPECT_THAT(Config(), HasSubstr("Nothing: the defaults fit."));
  EXPECT_THAT(FormatText(Look()), HasSubstr("no trouble was found"));
}

TEST_F(DoctorTest, TellsTheLayout) {
  std::string indented = At(1, 1, 0);
  for (size_t at = 0; (at = indented.find(',', at)) != std::string::npos; at += 2)
    indented.replace(at, 1, ",\n");
  Add(indented + At(1, 2, 0).substr(0, At(1, 2, 0).size() - 1) + At(1, 3, 0));
  Look();
  EXPECT_THAT(Of("layout").seen, HasSubstr("1 objects are indented, and 1 follow another one"));
  EXPECT_THAT(Config(), HasSubstr("decoding = \"2\""));
}

TEST_F(DoctorTest, NamesTheFieldThatMayBeMeant) {
  Add(R"({"geographical_location_oid":7,"cameraId":8,"detection_oid":9,"item_name":"car","timestamp_detected":1})");
  Add(At(1, 1, 0));
  Look();
  const Finding finding = Of("malformed.missing_field");
  EXPECT_THAT(finding.seen,
              HasSubstr("1 elements are malformed: missing_field of video_camera_oid"));
  EXPECT_THAT(finding.follows, HasSubstr("`cameraId` in 1 of them may be meant"));
  EXPECT_THAT(finding.examples, ElementsAre(HasSubstr("line 1: {\"geographical")));
}

TEST_F(DoctorTest, NamesOtherFormats) {
  Add("video_camera_oid,item_name\n1,car\n");
  Add(std::string("\xff\xfe{\0", 4));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("layout", "malformed.utf_16", "malformed.csv"));
  EXPECT_THAT(Of("malformed.utf_16").examples, ElementsAre("line 2: ??{ "));
}

TEST_F(DoctorTest, TellsTheUnitOfTimes) {
  const std::vector<std::pair<std::string, std::string>> units = {{"1763800020", "s"},
                                                                  {"1763800020.25", "s"},
                                                                  {"1763800020000000", "us"},
                                                                  {"1763800020000000000", "ns"}};
  for (const auto& [time, unit] : units) {
    Sample sample({});
    const std::string line = Line({.time = time}) + std::string(kDecodePadding, ' ');
    sample.Add({.bytes = std::string_view(line).substr(0, line.size() - kDecodePadding)});
    sample.Finish();
    const Diagnosis diagnosis = Diagnose(sample, facts_);
    EXPECT_THAT(FormatConfig(diagnosis, facts_),
                HasSubstr(fmt::format("timestamp_unit = \"{}\"\n", unit)))
        << time;
    ASSERT_EQ(sample.rows().size(), 1u);
    EXPECT_EQ(sample.rows()[0].time.v / kSecondMs, kBase / kSecondMs);
  }
}

TEST_F(DoctorTest, NamesTheCameraWithAnotherUnit) {
  for (int i = 0; i < 20; ++i) Add(At(1, i, i * kSecondMs));
  Add(Line({.camera = 2, .id = "77", .time = "1763800020"}));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("timestamp_unit"));
  EXPECT_THAT(Of("timestamp_unit").seen, HasSubstr("camera 2 1 in s"));
}

TEST_F(DoctorTest, AsksForTheZone) {
  Add(Line({.time = R"("2025-11-22 09:27:00")"}));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("timestamp_zone"));
  EXPECT_THAT(Config(), HasSubstr("# timestamp_zone = \"Region/City\"\n"));
}

TEST_F(DoctorTest, TellsTheZoneBesideAppendTimes) {
  facts_.kind = SourceFacts::Kind::kTopic;
  // 09:27 of UTC+1, appended at 08:27 UTC and a few seconds.
  Add(Line({.time = R"("2025-11-22 09:27:00")"}), AppendTime{kBase + 3'000}, 0, "1");
  Look();
  EXPECT_THAT(Of("timestamp_zone").seen, HasSubstr("UTC+01:00"));
  EXPECT_THAT(Config(), HasSubstr("# timestamp_zone = \"Etc/GMT-1\"\n"));
  EXPECT_THAT(Troubles(), ElementsAre("timestamp_zone"));
}

TEST_F(DoctorTest, TellsTextIds) {
  Add(Line({.id = R"("a-1")"}));
  Look();
  EXPECT_THAT(Of("detection_ids").seen, HasSubstr("1 of 1 ids are text"));
  EXPECT_THAT(Config(), HasSubstr("detection_ids = \"any\""));
}

TEST_F(DoctorTest, SeesThatEachCameraHasIdsOfItsOwn) {
  for (int i = 0; i < 50; ++i)
    for (int camera = 1; camera <= 3; ++camera)
      Add(At(camera, i, i * kSecondMs, (i + camera) % 2 == 0 ? "car" : "bus"));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("identity"));
  EXPECT_THAT(Of("identity").seen, HasSubstr("50 of 50 ids come from several cameras"));
  EXPECT_THAT(Config(), HasSubstr("\nidentity = \"camera_and_detection\"\n"));
}

TEST_F(DoctorTest, LeavesTheChoiceWhereSeveralCamerasSeeTheSame) {
  for (int i = 0; i < 50; ++i)
    for (int camera = 1; camera <= 2; ++camera) Add(At(camera, 1'000'000 + i, i * kSecondMs));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("identity"));
  EXPECT_THAT(Config(), HasSubstr("\n# identity = \"camera_and_detection\"\n"));
}

TEST_F(DoctorTest, TellsCopiesByKind) {
  Add(At(1, 1, 0));
  Add(At(1, 1, 0));
  Add(At(1, 2, 1'000));
  Add(At(1, 2, 2'000));
  Add(At(1, 3, 3'000));
  Add(At(1, 3, 3'000, "bus"));
  Look();
  EXPECT_THAT(Of("copies").seen, HasSubstr("2 are copies: 1 exact ones, 1 of the same item at"));
  EXPECT_THAT(Troubles(), ElementsAre("conflicts"));
  EXPECT_THAT(Of("conflicts").examples, ElementsAre(HasSubstr("line 5"), HasSubstr("line 6")));
}

TEST_F(DoctorTest, FitsTheHorizonToCopies) {
  for (int i = 0; i <= 300; ++i) Add(At(1, i, i * kMinuteMs));
  Add(At(1, 60, 301 * kMinuteMs));  // four hours after its first copy
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("dedup_horizon"));
  EXPECT_THAT(Config(), HasSubstr("dedup_horizon = \"8h\""));
}

TEST_F(DoctorTest, FitsTheHorizonToTrackersThatBeginAgain) {
  for (int i = 0; i < 180; ++i) {  // numbers from 0 again every 30 minutes
    Add(At(1, i % 30, i * kMinuteMs, i / 30 % 2 == 0 ? "car" : "bus"));
    Add(At(1, i % 30, i * kMinuteMs + 2'000, i / 30 % 2 == 0 ? "car" : "bus"));
  }
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("restarted_ids", "dedup_horizon"));
  EXPECT_THAT(Config(), HasSubstr("dedup_horizon = \"865s\""));
}

TEST_F(DoctorTest, FitsTheHorizonToLateCameras) {
  for (int i = 0; i <= 60; ++i) Add(At(1, i, i * kMinuteMs + 3 * kHourMs));
  for (int i = 0; i <= 60; ++i) Add(At(1, 100 + i, i * kMinuteMs));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("dedup_horizon"));
  EXPECT_THAT(Of("disorder").seen, HasSubstr("at most by 4h"));
  EXPECT_THAT(Config(), HasSubstr("out_of_orderness = \"10m\""));
  EXPECT_THAT(Config(), HasSubstr("dedup_horizon = \"8h\""));
}

TEST_F(DoctorTest, FindsTimesThatDoNotFit) {
  for (int i = 0; i < 50; ++i) Add(At(1, i, i * kSecondMs));
  Add(At(1, 100, 2'000LL * kDayMs));  // beyond now
  Add(At(1, 101, 6 * kHourMs));       // before now, but not of this moment
  for (int i = 50; i < 99; ++i) Add(At(1, i, i * kSecondMs));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("camera_clock"));
  EXPECT_THAT(Of("camera_clock").seen, HasSubstr("2 detections have times that do not fit"));
  EXPECT_THAT(Config(), HasSubstr("watermark_step = \"bounded\""));
}

TEST_F(DoctorTest, FindsAClockThatStaysWrongForAWhile) {
  for (int i = 0; i < 100; ++i)
    for (int camera = 1; camera <= 3; ++camera) {
      const bool is_wrong = camera == 2 && i >= 40 && i < 60;
      Add(At(camera, camera * 1'000 + i, i * kSecondMs + (is_wrong ? -10'000 * kDayMs : 0)));
    }
  for (int i = 0; i < 100; ++i) Add(At(1 + i % 3, 9'000 + i, 100'000 + i * kSecondMs));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("camera_clock"));
  EXPECT_THAT(Of("camera_clock").seen, HasSubstr("20 detections have times that do not fit"));
  EXPECT_THAT(Config(), Not(HasSubstr("dedup_horizon")));
}

TEST_F(DoctorTest, TakesOneCameraBehindTheOtherAsItIs) {
  for (int camera = 1; camera <= 3; ++camera)
    for (int i = 0; i < 100; ++i) Add(At(camera, camera * 1'000 + i, i * 10 * kMinuteMs));
  Look();
  EXPECT_THAT(Troubles(), IsEmpty()) << FormatText(Look());
}

TEST_F(DoctorTest, FindsTheCameraThatDiffersFromTheOthers) {
  for (int i = 0; i < 100; ++i)
    for (int camera = 1; camera <= 5; ++camera)
      Add(At(camera, camera * 1'000 + i, i * kSecondMs + (camera == 3 ? 2 * kHourMs : 0)));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("camera_clock"));
  EXPECT_THAT(Of("camera_clock").seen, HasSubstr("camera 3 by 2h ahead"));
  EXPECT_THAT(Of("camera_clock").follows, HasSubstr("local time is sent as UTC"));
}

TEST_F(DoctorTest, ComparesClocksWithAppendTimes) {
  facts_.kind = SourceFacts::Kind::kTopic;
  for (int i = 0; i < 100; ++i) {
    AddAppended(1, 1'000 + i, i * kSecondMs, 500);
    AddAppended(2, 2'000 + i, i * kSecondMs, -5 * kMinuteMs);
    AddAppended(3, 3'000 + i, i * kSecondMs, 2 * kHourMs);
    AddAppended(4, 4'000 + i, i * kSecondMs, i == 50 ? -kDayMs : 0);
  }
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("camera_clock", "camera_clock", "camera_clock"));
  const std::string text = FormatText(Look());
  EXPECT_THAT(text, HasSubstr("ahead of the append time: camera 2 by 5m"));
  EXPECT_THAT(text, HasSubstr("whole hours behind the append time: camera 3 by 2h"));
  EXPECT_THAT(text, HasSubstr("1 detections lie more than 1m ahead of their append time"));
  EXPECT_THAT(Config(), HasSubstr("\nfuture_tolerance = \"8m\"\n"));
}

TEST_F(DoctorTest, TurnsTheMaximumAgeOffForOldFiles) {
  facts_.now_ms = kBase + 30 * kDayMs;
  Add(At(1, 1, 0));
  Look();
  EXPECT_THAT(Troubles(), IsEmpty());
  EXPECT_THAT(Config(), HasSubstr("max_age = \"off\""));
}

TEST_F(DoctorTest, TellsTopicsWithoutAppendTime) {
  facts_.kind = SourceFacts::Kind::kTopic;
  Add(At(1, 1, 0), kNoAppendTime, PartitionOfKey(1, 4), "1");
  Look();
  EXPECT_THAT(Of("append_time").seen, HasSubstr("CreateTime"));
  EXPECT_THAT(Config(), HasSubstr("watermark_step = \"bounded\""));
  EXPECT_THAT(Of("keys").follows, HasSubstr("All copies of a detection reach the same partition"));
}

TEST_F(DoctorTest, SeesCamerasInSeveralPartitions) {
  facts_.kind = SourceFacts::Kind::kTopic;
  facts_.name = "raw";
  for (int i = 0; i < 8; ++i)
    Add(At(1, i, i * kSecondMs), AppendTime{kBase + i * kSecondMs}, i % 4);
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("keys"));
  EXPECT_THAT(Of("keys").seen, HasSubstr("camera 1 in 4"));
  EXPECT_THAT(Of("keys").follows, HasSubstr("sightline rekey --from raw"));
}

TEST_F(DoctorTest, TellsItemNames) {
  Add(Line({.id = "1", .item = "caf\xc3\xa9"}));
  Add(Line({.id = "2", .item = "cafe\xcc\x81"}));
  Add(Line({.id = "3", .item = "Car"}));
  Add(Line({.id = "4", .item = "car"}));
  Look();
  EXPECT_THAT(Troubles(), ElementsAre("item_names"));
  EXPECT_THAT(Config(), HasSubstr("item_names = \"nfc\""));
  EXPECT_THAT(Of("item_spellings").seen, HasSubstr("\"Car\" (1), \"car\" (1)"));
  EXPECT_THAT(Of("item_spellings").seen, Not(HasSubstr("caf")));
}

TEST_F(DoctorTest, SizesMemoryAndPartitions) {
  std::string second;
  for (int i = 0; i < 2'000; ++i) second += At(1, i, i % 2);
  Add(second);
  Look();
  EXPECT_THAT(Of("memory").seen,
              HasSubstr("2000 events/s in the busiest minute, 100 % of them new"));
  EXPECT_THAT(Of("memory").follows, HasSubstr("7.20 M ids are remembered: counting takes 0.6 GB"));
}

TEST_F(DoctorTest, SendsNothingToATerminalThatItObeys) {
  Add(Line({.id = "1", .item = R"(\u001b[2J)"}));
  Add(Line({.id = "1", .item = R"(\u009b2J)"}));
  const std::string text = FormatText(Look());
  EXPECT_THAT(text, HasSubstr("id 1,  [2J,"));
  EXPECT_THAT(text, HasSubstr("id 1,  2J,"));
}

TEST_F(DoctorTest, StopsWhenItHasSeenEnough) {
  Sample sample({.elements_max = 3});
  std::string lines;
  for (int i = 0; i < 5; ++i) lines += At(1, i, i);
  const size_t size = lines.size();
  lines.append(kDecodePadding, ' ');
  sample.Add({.bytes = std::string_view(lines).substr(0, size)});
  sample.Finish();
  EXPECT_TRUE(sample.Full());
  EXPECT_EQ(sample.rows().size(), 3u);
}

TEST_F(DoctorTest, WritesTomlAndJson) {
  facts_.given = {{.key = "kafka.topic", .value = "a\"b\\c", .why = ""}};
  Add(Line({.time = "1763800020"}));
  Look();
  EXPECT_THAT(Config(), HasSubstr("[kafka]\ntopic = \"a\\\"b\\\\c\"\n"));
  EXPECT_THAT(Config(), HasSubstr("[pipeline]\n# By their magnitude, the times are in this unit.\n"
                                  "timestamp_unit = \"s\"\n"));
  const std::string json = FormatJson(Look(), facts_);
  EXPECT_THAT(json, HasSubstr(R"("trouble":true)"));
  EXPECT_THAT(json, HasSubstr(R"("settings":{"pipeline.timestamp_unit":"s"})"));
}

}  // namespace
}  // namespace sightline
