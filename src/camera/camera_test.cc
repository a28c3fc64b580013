#include "camera/camera.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <thread>

#include "camera/scripted_server.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr char kTaken[] = R"({"accepted":1,"rejected":0,"errors":[],"errors_truncated":false})";

class CameraTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // In memory where there is such a place: hundreds of spools would wait for a shared disk.
    const fs::path parent = fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string name = (parent / "camera_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    options_.spool.directory = (root_ / "spool").string();
    options_.sender.backoff_min = {5};
    options_.sender.backoff_max = {20};
    options_.progress_interval = {50};
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string Take(const ScriptedServer::Request& request) {
    std::istringstream body(request.body);
    for (std::string line; std::getline(body, line);) taken_.push_back(line);
    taken_count_ = taken_.size();
    return ScriptedServer::Answer("200 OK", kTaken);
  }
  void Record(int lines) {
    options_.source = CameraOptions::Source::kPlayback;
    options_.playback.path = (root_ / "recording.ndjson").string();
    options_.playback.speed = 0;
    std::ofstream file(options_.playback.path);
    for (int i = 0; i < lines; ++i) {
      recording_.push_back(fmt::format(R"({{"detection_oid":{},"timestamp_detected":{}}})", i, i));
      file << recording_.back() << "\n";
    }
  }
  Status Run() {
    return RunCamera(options_, stop_,
                     [this](std::string_view line) { progress_.emplace_back(line); });
  }
  // A port on which nobody listens.
  static uint16_t FreePort() {
    return ScriptedServer([](const auto&) { return std::string(); }).port();
  }

  fs::path root_;
  CameraOptions options_;
  std::atomic<bool> stop_{false};
  std::vector<std::string> taken_;
  std::atomic<size_t> taken_count_{0};
  std::vector<std::string> recording_;
  std::vector<std::string> progress_;
};

TEST_F(CameraTest, DeliversARecordingInOrder) {
  Record(20'000);
  ScriptedServer server([this](const auto& request) { return Take(request); });
  options_.sender.url = server.url() + "/";
  const Status status = Run();
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(taken_, recording_);
  ASSERT_FALSE(progress_.empty());
  EXPECT_NE(progress_.back().find("20000 acknowledged, 0 in memory, 0 in the spool"),
            std::string::npos)
      << progress_.back();
}

TEST_F(CameraTest, WithoutAServerTheRecordingWaitsInTheSpool) {
  Record(100);
  const uint16_t port = FreePort();
  options_.sender.url = fmt::format("http://127.0.0.1:{}", port);
  options_.drain_time = {100};
  const Status status = Run();
  EXPECT_EQ(status.code(), StatusCode::kRetry);
  EXPECT_NE(status.message().find("100 events wait"), std::string::npos) << status.message();

  // The next run delivers them first.
  const auto before = recording_;
  recording_.clear();
  Record(0);
  ScriptedServer server([this](const auto& request) { return Take(request); }, port);
  EXPECT_TRUE(Run().ok());
  EXPECT_EQ(taken_, before);
}

TEST_F(CameraTest, SimulatesUntilStoppedAndWritesTheTable) {
  options_.locations_file = (root_ / "locations.csv").string();
  options_.simulator.rate = 2'000;
  ScriptedServer server([this](const auto& request) { return Take(request); });
  options_.sender.url = server.url();
  std::thread stopper([this] {
    for (int i = 0; i < 500 && taken_count_ < 200; ++i)
      std::this_thread::sleep_for(milliseconds(10));
    stop_ = true;
  });
  const Status status = Run();
  stopper.join();
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_GE(taken_.size(), 200u);
  std::ifstream csv(options_.locations_file);
  const std::string table{std::istreambuf_iterator<char>(csv), {}};
  EXPECT_EQ(table, Simulator(options_.simulator, options_.seed).LocationsCsv());
}

TEST_F(CameraTest, StopsSoonWhileTheServerHangs) {
  Record(50'000);
  ScriptedServer server([](const auto&) { return std::string(); });
  options_.sender.url = server.url();
  options_.stop_time = {50};
  std::thread stopper([this] {
    std::this_thread::sleep_for(milliseconds(100));
    stop_ = true;
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(Run().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
  stopper.join();
}

TEST_F(CameraTest, SaysWhatIsWrong) {
  options_.source = CameraOptions::Source::kPlayback;
  options_.playback.path = (root_ / "nothing").string();
  EXPECT_EQ(Run().code(), StatusCode::kStop);
  options_.sender.url = "somewhere";
  EXPECT_EQ(Run().code(), StatusCode::kStop);
  options_ = {};
  options_.simulator.items = 0;
  EXPECT_EQ(Run().code(), StatusCode::kStop);
}

}  // namespace
}  // namespace sightline
