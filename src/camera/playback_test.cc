#include "camera/playback.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "camera/detection_id.h"
#include "camera/gzip.h"
#include "camera/line_reader.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr int64_t kNow = 1'800'000'000'000;
constexpr int64_t kRecorded = 1'763'800'020'000;

std::string Line(int64_t id, int64_t time, std::string_view item = "person") {
  return fmt::format(
      R"({{"geographical_location_oid":7001,"video_camera_oid":70011,"detection_oid":{},)"
      R"("item_name":"{}","timestamp_detected":{}}})",
      id, item, time);
}

struct Sent {
  int64_t id = 0;
  int64_t time = 0;
};
Sent Decode(std::string_view line) {
  const json::value value = json::parse({line.data(), line.size()});
  return {value.at("detection_oid").as_int64(), value.at("timestamp_detected").as_int64()};
}

// Both clocks together; waiting is instantaneous. `on_wait` runs before each wait.
class FakePacer final : public Pacer {
 public:
  explicit FakePacer(ManualClock& clock) : clock_(clock) {}
  int64_t SteadyMs() const override { return steady_ms_; }
  void WaitUntil(int64_t steady_ms, const std::atomic<bool>&) override {
    if (steady_ms <= steady_ms_) return;
    clock_.Advance(steady_ms - steady_ms_);
    steady_ms_ = steady_ms;
  }
  int64_t steady_ms_ = 5'000'000;

 private:
  ManualClock& clock_;
};

class PlaybackTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "replay_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    options_.path = (root_ / "recording.ndjson").string();
  }
  void TearDown() override { fs::remove_all(root_); }

  void Record(const std::string& bytes) {
    std::ofstream(options_.path, std::ios::binary | std::ios::trunc) << bytes;
  }
  // Runs until `lines_max` lines are sent.
  Status Run(size_t lines_max = 1'000'000) {
    return PlayBack(options_, clock_, pacer_, stop_, [&](std::string_view line) {
      sent_.emplace_back(line);
      sent_at_.push_back(pacer_.steady_ms_ - 5'000'000);
      return sent_.size() < lines_max;
    });
  }

  fs::path root_;
  PlaybackOptions options_;
  ManualClock clock_{kNow};
  FakePacer pacer_{clock_};
  std::atomic<bool> stop_{false};
  std::vector<std::string> sent_;
  std::vector<int64_t> sent_at_;
};

TEST_F(PlaybackTest, WithoutShiftLinesAreUntouchedAndPaced) {
  const std::string odd = "{ \"timestamp_detected\" : 1763800020500, \"x\":0.50 }";
  Record(Line(1, kRecorded) + "\n" + Line(2, kRecorded + 300) + "\r\nnonsense\n" +
         Line(1, kRecorded + 100) + "\n" + odd);
  options_.speed = 2;
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(sent_, (std::vector<std::string>{Line(1, kRecorded), Line(2, kRecorded + 300) + "\r",
                                             "nonsense", Line(1, kRecorded + 100), odd}));
  EXPECT_EQ(sent_at_, (std::vector<int64_t>{0, 150, 150, 150, 250}));
}

TEST_F(PlaybackTest, AsFastAsPossible) {
  Record(Line(1, kRecorded) + "\n" + Line(2, kRecorded + 3'000'000) + "\n");
  options_.speed = 0;
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(sent_.size(), 2u);
  EXPECT_EQ(sent_at_.back(), 0);
}

TEST_F(PlaybackTest, ShiftMovesTheFirstEventToNowAndKeepsCopiesTogether) {
  Record(Line(7, kRecorded) + "\n" + Line(8, kRecorded + 100) + "\n" + Line(7, kRecorded + 100) +
         "\n" + Line(8, kRecorded - 50) + "\n");
  options_.shift_to_now = true;
  ASSERT_TRUE(Run().ok());
  ASSERT_EQ(sent_.size(), 4u);
  EXPECT_EQ(Decode(sent_[0]).time, kNow);
  EXPECT_EQ(Decode(sent_[1]).time, kNow + 100);
  EXPECT_EQ(Decode(sent_[3]).time, kNow - 50);
  EXPECT_EQ(Decode(sent_[0]).id, PlayedId(kNow, 0).v);
  EXPECT_EQ(Decode(sent_[1]).id, PlayedId(kNow, 1).v);
  EXPECT_EQ(Decode(sent_[2]).id, Decode(sent_[0]).id);
  EXPECT_EQ(Decode(sent_[3]).id, Decode(sent_[1]).id);
}

TEST_F(PlaybackTest, ShiftedTimesKeepStepWithTheClockAtAnySpeed) {
  for (const double speed : {0.5, 1.0, 7.0, 0.0}) {
    std::string recording;
    for (int i = 0; i < 100; ++i) recording += Line(i, kRecorded + i * 1'000) + "\n";
    Record(recording);
    options_.shift_to_now = true;
    options_.speed = speed;
    ASSERT_TRUE(PlayBack(options_, clock_, pacer_, stop_, [&](std::string_view line) {
                  EXPECT_EQ(Decode(line).time, clock_.NowMs()) << speed;
                  return true;
                }).ok());
  }
}

TEST_F(PlaybackTest, LoopsGoOnSeamlesslyWithNewIds) {
  std::string recording;
  for (int i = 0; i < 10; ++i) recording += Line(i / 2, kRecorded + i * 100) + "\n";
  Record(recording);
  options_.shift_to_now = options_.loop = true;
  ASSERT_TRUE(Run(50).ok());
  std::set<int64_t> ids;
  for (size_t i = 0; i < sent_.size(); ++i) {
    const Sent sent = Decode(sent_[i]);
    EXPECT_EQ(sent.time, kNow + static_cast<int64_t>(i) * 100);
    EXPECT_EQ(sent_at_[i], static_cast<int64_t>(i) * 100);
    EXPECT_GT(sent.id, 0);
    ids.insert(sent.id);
  }
  EXPECT_EQ(ids.size(), 25u);  // 5 objects a pass
  // Another run, a moment later, has no id of the first.
  sent_.clear();
  ASSERT_TRUE(Run(50).ok());
  for (const std::string& line : sent_) EXPECT_EQ(ids.count(Decode(line).id), 0u);
}

TEST_F(PlaybackTest, LoopsAtFullSpeedNeverRepeatAnId) {
  std::string recording;
  for (int i = 0; i < 10; ++i) recording += Line(i, kRecorded + i * 100) + "\n";
  Record(recording);
  options_.shift_to_now = options_.loop = true;
  options_.speed = 0;  // all passes begin in the same millisecond
  ASSERT_TRUE(Run(200).ok());
  std::set<int64_t> ids;
  for (const std::string& line : sent_) ids.insert(Decode(line).id);
  EXPECT_EQ(ids.size(), 200u);
}

TEST_F(PlaybackTest, ANewPassFollowsTheWallClockWhenTheMachineSlept) {
  Record(Line(1, kRecorded) + "\n" + Line(2, kRecorded + 1'000) + "\n");
  options_.shift_to_now = options_.loop = true;
  ASSERT_TRUE(PlayBack(options_, clock_, pacer_, stop_, [&](std::string_view line) {
                sent_.emplace_back(line);
                if (sent_.size() == 2) clock_.Advance(3'600'000);
                return sent_.size() < 4;
              }).ok());
  EXPECT_EQ(Decode(sent_[2]).time, kNow + 1'000 + 3'600'000);
}

TEST_F(PlaybackTest, AWrongClockDoesNotHaltTheRecording) {
  std::string recording = Line(1, kRecorded) + "\n" + Line(2, kRecorded + 3'600'000) + "\n" +
                          Line(3, 1'763'800) + "\n" + Line(4, kRecorded + 200) + "\n";
  // A pause of a day, on which all lines agree, is skipped.
  for (int i = 0; i < 40; ++i) recording += Line(10 + i, kRecorded + 86'400'000 + i * 100) + "\n";
  Record(recording);
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(sent_.size(), 44u);
  EXPECT_EQ(sent_at_[3], 200);
  EXPECT_EQ(sent_at_.back(), 200 + 20 * 100);
}

TEST_F(PlaybackTest, StopAndRefusalEndIt) {
  Record(Line(1, kRecorded) + "\n" + Line(2, kRecorded) + "\n");
  ASSERT_TRUE(Run(1).ok());
  EXPECT_EQ(sent_.size(), 1u);
  stop_ = true;
  sent_.clear();
  ASSERT_TRUE(Run().ok());
  EXPECT_TRUE(sent_.empty());
}

TEST_F(PlaybackTest, SaysWhatIsWrong) {
  EXPECT_EQ(Run().code(), StatusCode::kStop);  // no file
  Record("");
  EXPECT_TRUE(Run().ok());
  options_.loop = true;
  EXPECT_EQ(Run().code(), StatusCode::kStop);  // loop without shift
  options_.shift_to_now = true;
  EXPECT_EQ(Run().code(), StatusCode::kStop);  // nothing to loop over
  options_.path = "-";
  EXPECT_EQ(Run().code(), StatusCode::kStop);
  EXPECT_FALSE(PlaybackOptions{.speed = -1}.Validate().ok());
  EXPECT_FALSE(PlaybackOptions{.units_per_second = 60}.Validate().ok());
}

TEST_F(PlaybackTest, ReadsGzipOfSeveralMembers) {
  options_.speed = 0;
  std::string recording;
  for (int i = 0; i < 5'000; ++i) recording += Line(i, kRecorded + i) + "\n";
  Record(Gzip(recording) + Gzip(Line(1, 2)) + Gzip("\nlast"));
  ASSERT_TRUE(Run().ok());
  ASSERT_EQ(sent_.size(), 5'002u);
  EXPECT_EQ(sent_[4'999], Line(4'999, kRecorded + 4'999));
  EXPECT_EQ(sent_[5'000], Line(1, 2));
  EXPECT_EQ(sent_[5'001], "last");

  std::string cut = Gzip(recording);
  Record(cut.substr(0, cut.size() - 5));
  EXPECT_EQ(Run().code(), StatusCode::kStop);
  cut[cut.size() / 2] ^= 0x55;
  Record(cut);
  EXPECT_EQ(Run().code(), StatusCode::kStop);
}

TEST_F(PlaybackTest, SkipsALineThatIsTooLong) {
  options_.speed = 0;
  Record("first\n" + std::string(LineReader::kLineBytesMax + 600'000, 'x') + "\nlast\n");
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(sent_, (std::vector<std::string>{"first", "last"}));
}

std::string Rewritten(std::string_view line, int64_t units_per_second = 1'000) {
  LineRewriter rewriter(units_per_second);
  rewriter.StartPass(kNow);
  rewriter.Parse(line);
  return std::string(rewriter.Rewrite({{kRecorded}, {kNow}, 1}));
}

TEST(LineRewriter, KeepsFormsAndOtherFields) {
  const int64_t id = PlayedId(kNow, 0).v;
  EXPECT_EQ(Rewritten(R"({"detection_oid":"9","n":"x\u00e9","timestamp_detected":"1763800020123",)"
                      R"("timestamp":1763800021000,"box":[1,2]})"),
            fmt::format(R"({{"detection_oid":"{}","n":"xé","timestamp_detected":"{}",)"
                        R"("timestamp":{},"box":[1,2]}})",
                        id, kNow + 123, kNow + 1'000));
  EXPECT_EQ(Rewritten(R"({"timestamp_detected":"2025-11-22T08:27:00.5Z"})"),
            R"({"timestamp_detected":"2027-01-15T08:00:00.500Z"})");
  EXPECT_EQ(Rewritten(R"({"timestamp_detected":"2025-11-22T09:27:01+01:00"})"),
            R"({"timestamp_detected":"2027-01-15T08:00:01.000Z"})");
  EXPECT_EQ(Rewritten(R"({"video_camera_oid":1,"heartbeat":1763800020000})"),
            fmt::format(R"({{"video_camera_oid":1,"heartbeat":{}}})", kNow));
  EXPECT_EQ(
      Rewritten(R"([{"detection_oid":5},{"detection_oid":6},{"detection_oid":5},3])"),
      fmt::format(R"([{{"detection_oid":{}}},{{"detection_oid":{}}},{{"detection_oid":{}}},3])", id,
                  id + 1, id));
}

TEST(LineRewriter, LeavesWhatItDoesNotUnderstand) {
  for (const char* line :
       {"", "{", "null", "[1,2]", "\"x\"", R"({"detection_oid":"x","timestamp_detected":"soon"})",
        R"({"detection_oid":null,"timestamp_detected":"2025-13-22T08:27:00Z"})", "\xff\xfe"})
    EXPECT_EQ(Rewritten(line), line);
}

TEST(LineRewriter, OtherUnits) {
  EXPECT_EQ(Rewritten(R"({"timestamp_detected":1763800021})", 1),
            R"({"timestamp_detected":1800000001})");
  EXPECT_EQ(Rewritten(R"({"timestamp_detected":1763800020001000})", 1'000'000),
            R"({"timestamp_detected":1800000000001000})");
  EXPECT_EQ(Rewritten(R"({"timestamp_detected":1763800020001000000})", 1'000'000'000),
            R"({"timestamp_detected":1800000000001000000})");
}

TEST(DetectionIds, AreDistinctAndPositive) {
  EXPECT_GT(SimulatedId(kNow, 0, 0).v, 0);
  EXPECT_LT(SimulatedId(INT64_MAX, 1'023, 1'023).v, PlayedId(kIdEpochMs, 0).v);
  EXPECT_GT(PlayedId(INT64_MAX, INT64_MAX).v, 0);
  EXPECT_NE(SimulatedId(kNow, 1, 0), SimulatedId(kNow, 0, 1));
  EXPECT_LT(SimulatedId(kNow, 1'023, 1'023), SimulatedId(kNow + 1, 0, 0));
  EXPECT_EQ(PlayedId(kNow, 1 << 20), PlayedId(kNow + 1, 0));
  EXPECT_EQ(PlayedIdMillis(0), 1);
  EXPECT_EQ(PlayedIdMillis(1 << 20), 2);
}

}  // namespace
}  // namespace sightline
