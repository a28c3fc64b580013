#include "camera/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#include "camera/random.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

class SpoolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // In memory where there is such a place: hundreds of spools would wait for a shared disk.
    const fs::path parent = fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string name = (parent / "spool_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    options_.directory = (root_ / "spool").string();
  }
  void TearDown() override { fs::remove_all(root_); }

  std::unique_ptr<Spool> Open() {
    auto spool = Spool::Open(options_);
    EXPECT_TRUE(spool.ok()) << spool.status().message();
    return std::move(spool).value();
  }

  std::vector<fs::path> Segments() const {
    std::vector<fs::path> segments;
    for (const auto& entry : fs::directory_iterator(options_.directory))
      if (entry.path().extension() == ".seg") segments.push_back(entry.path());
    std::sort(segments.begin(), segments.end());
    return segments;
  }

  fs::path root_;
  SpoolOptions options_;
};

void Append(Spool& spool, std::string_view body, int64_t events = 1) {
  const auto position = spool.Append(body, events);
  ASSERT_TRUE(position.ok()) << position.status().message();
}

// Reads and acknowledges everything, record by record.
std::vector<std::string> Drain(Spool& spool) {
  std::vector<std::string> bodies;
  while (true) {
    auto chunk = spool.Read(1, 1);
    EXPECT_TRUE(chunk.ok());
    if (chunk.value().events == 0) return bodies;
    bodies.push_back(chunk.value().body);
    spool.Acknowledge(chunk.value().next);
  }
}

std::string Contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Write(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

using Bodies = std::vector<std::string>;

TEST_F(SpoolTest, ReadsInOrderAndJoinsUpToTheLimits) {
  auto spool = Open();
  EXPECT_TRUE(spool->empty());
  Append(*spool, "a\nb\n", 2);
  Append(*spool, "c\n");
  Append(*spool, "d\n");
  EXPECT_EQ(spool->events(), 4);
  auto chunk = spool->Read(3, 1'000).value();
  EXPECT_EQ(chunk.body, "a\nb\nc\n");
  EXPECT_EQ(chunk.events, 3);
  EXPECT_EQ(spool->Read(100, 5).value().body, "a\nb\n");
  EXPECT_EQ(spool->Read(1, 1).value().body, "a\nb\n");  // the first whatever its size
  spool->Acknowledge(chunk.next);
  EXPECT_EQ(spool->events(), 1);
  EXPECT_EQ(Drain(*spool), Bodies{"d\n"});
  EXPECT_TRUE(spool->empty());
  EXPECT_EQ(spool->bytes(), 0);
  EXPECT_TRUE(Segments().empty());
}

TEST_F(SpoolTest, AcknowledgedPositionSurvivesARestart) {
  options_.segment_bytes = 40;
  {
    auto spool = Open();
    for (int i = 0; i < 20; ++i) Append(*spool, fmt::format("body {}\n", i));
    for (int i = 0; i < 7; ++i) spool->Acknowledge(spool->Read(1, 1).value().next);
  }
  auto spool = Open();
  EXPECT_EQ(spool->events(), 13);
  Append(*spool, "body 20\n");
  const Bodies bodies = Drain(*spool);
  ASSERT_EQ(bodies.size(), 14u);
  for (int i = 0; i < 14; ++i) EXPECT_EQ(bodies[i], fmt::format("body {}\n", i + 7));
  spool.reset();
  EXPECT_TRUE(Open()->empty());
}

TEST_F(SpoolTest, AcknowledgedSegmentsAreDeleted) {
  options_.segment_bytes = 500;
  auto spool = Open();
  for (int i = 0; i < 50; ++i) Append(*spool, std::string(38, 'x'));
  EXPECT_EQ(Segments().size(), 5u);
  EXPECT_EQ(spool->bytes(), 50 * 50);
  for (int i = 0; i < 30; ++i) spool->Acknowledge(spool->Read(1, 1).value().next);
  EXPECT_EQ(Segments().size(), 2u);
  EXPECT_EQ(spool->bytes(), 20 * 50);
}

TEST_F(SpoolTest, ALostOrDamagedPositionOnlyMakesCopies) {
  for (const bool damage : {false, true}) {
    {
      auto spool = Open();
      Append(*spool, "one");
      Append(*spool, "two");
      spool->Acknowledge(spool->Read(1, 1).value().next);
    }
    const fs::path position = fs::path(options_.directory) / "position";
    if (damage) {
      std::string text = Contents(position);
      text[8] ^= 1;
      Write(position, text);
    } else {
      fs::remove(position);
    }
    EXPECT_EQ(Drain(*Open()), (Bodies{"one", "two"}));
  }
}

TEST_F(SpoolTest, EveryDamageOfThePositionFileIsSafe) {
  {
    auto spool = Open();
    for (const char* body : {"one", "two", "three"}) Append(*spool, body);
    spool->Acknowledge(spool->Read(1, 1).value().next);
  }
  const std::string before = options_.directory;
  const std::string text = Contents(fs::path(before) / "position");
  for (size_t size = 0; size < text.size(); ++size) {
    options_.directory = (root_ / fmt::format("copy{}", size)).string();
    fs::copy(before, options_.directory, fs::copy_options::recursive);
    Write(fs::path(options_.directory) / "position", text.substr(0, size));
    const Bodies bodies = Drain(*Open());
    ASSERT_GE(bodies.size(), 2u) << size;
    EXPECT_EQ(bodies.back(), "three");
  }
}

TEST_F(SpoolTest, ATailTornAtAnyByteIsCut) {
  {
    auto spool = Open();
    Append(*spool, "first\n");
    Append(*spool, "second\n");
    Append(*spool, "the last one\n");
  }
  ASSERT_EQ(Segments().size(), 1u);
  const std::string whole = Contents(Segments()[0]);
  const size_t last = whole.size() - (12 + 13);
  const std::string before = options_.directory;
  for (size_t size = last; size <= whole.size(); ++size) {
    options_.directory = (root_ / fmt::format("cut{}", size)).string();
    fs::copy(before, options_.directory, fs::copy_options::recursive);
    Write(Segments()[0], std::string_view(whole).substr(0, size));
    {
      auto spool = Open();
      EXPECT_EQ(spool->events(), size == whole.size() ? 3 : 2) << size;
      Append(*spool, "after the crash\n");
    }
    Bodies expected{"first\n", "second\n"};
    if (size == whole.size()) expected.push_back("the last one\n");
    expected.push_back("after the crash\n");
    auto spool = Open();
    EXPECT_EQ(Drain(*spool), expected) << size;
    EXPECT_EQ(spool->bytes(), 0);
  }
}

TEST_F(SpoolTest, AFlippedByteNeverBecomesABody) {
  {
    auto spool = Open();
    Append(*spool, "first\n");
    Append(*spool, "the last one\n");
  }
  const fs::path segment = Segments()[0];
  const std::string whole = Contents(segment);
  const std::string before = options_.directory;
  for (size_t at = 18; at < whole.size(); ++at) {
    options_.directory = (root_ / fmt::format("flip{}", at)).string();
    fs::copy(before, options_.directory, fs::copy_options::recursive);
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x41);
    Write(Segments()[0], flipped);
    EXPECT_EQ(Drain(*Open()), Bodies{"first\n"}) << at;
  }
}

TEST_F(SpoolTest, DamageWhileRunningLosesItsSegmentOnly) {
  options_.segment_bytes = 30;
  auto spool = Open();
  for (int i = 0; i < 6; ++i) Append(*spool, fmt::format("body number {}\n", i));  // 27 bytes each
  ASSERT_EQ(Segments().size(), 3u);
  std::string bytes = Contents(Segments()[1]);
  bytes.back() ^= 1;
  Write(Segments()[1], bytes);
  EXPECT_EQ(Drain(*spool), (Bodies{"body number 0\n", "body number 1\n", "body number 2\n",
                                   "body number 4\n", "body number 5\n"}));
  EXPECT_TRUE(spool->empty());
  Append(*spool, "goes on");
  EXPECT_EQ(Drain(*spool), Bodies{"goes on"});
}

TEST_F(SpoolTest, FullRefusesTheNewAndKeepsTheOld) {
  options_.bytes_max = 200;
  options_.segment_bytes = 50;
  auto spool = Open();
  const std::string body(38, 'x');
  for (int i = 0; i < 4; ++i) Append(*spool, body);
  const auto refused = spool->Append(body, 1);
  EXPECT_EQ(refused.status().code(), StatusCode::kRetry);
  EXPECT_NE(refused.status().message().find("full"), std::string::npos);
  EXPECT_EQ(spool->events(), 4);
  spool->Acknowledge(spool->Read(1, 1).value().next);
  Append(*spool, "fits again");
  EXPECT_EQ(Drain(*spool), (Bodies{body, body, body, "fits again"}));
}

// A full disk: the kernel takes a part of a record and then refuses. RLIMIT_FSIZE is such a disk
// that needs no mount.
TEST_F(SpoolTest, AFullDiskLeavesNoHalfRecord) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  auto spool = Open();
  Append(*spool, "before\n");
  rlimit small = unlimited;
  small.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::vector<StatusCode> codes;
  for (int i = 0; i < 3; ++i)
    codes.push_back(spool->Append(std::string(200, 'y'), 1).status().code());
  const auto fits = spool->Append("small\n", 1);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  EXPECT_EQ(codes, std::vector<StatusCode>(3, StatusCode::kRetry));
  EXPECT_TRUE(fits.ok());
  Append(*spool, "after\n");
  EXPECT_EQ(spool->events(), 3);
  spool.reset();
  EXPECT_EQ(Drain(*Open()), (Bodies{"before\n", "small\n", "after\n"}));
}

TEST_F(SpoolTest, OneAtATime) {
  auto spool = Open();
  const auto second = Spool::Open(options_);
  EXPECT_EQ(second.status().code(), StatusCode::kStop);
  spool.reset();
  EXPECT_TRUE(Spool::Open(options_).ok());
}

TEST_F(SpoolTest, AnUnusableDirectoryIsSaid) {
  Write(root_ / "file", "");
  options_.directory = (root_ / "file" / "spool").string();
  EXPECT_EQ(Spool::Open(options_).status().code(), StatusCode::kStop);
}

TEST_F(SpoolTest, SetsAsideWithinItsBound) {
  options_.refused_bytes_max = 10;
  auto spool = Open();
  EXPECT_TRUE(spool->KeepRefused("12345678", 400, 1'763'800'020'000).ok());
  EXPECT_EQ(spool->KeepRefused("12345678", 400, 1'763'800'020'000).code(), StatusCode::kRetry);
  const fs::path kept = fs::path(options_.directory) / "refused" / "1763800020000-0-400.ndjson";
  EXPECT_EQ(Contents(kept), "12345678");
  fs::remove(kept);  // somebody has looked at it
  EXPECT_TRUE(spool->KeepRefused("12345678", 400, 1'763'800'020'000).ok());
  EXPECT_TRUE(spool->empty());
}

// A child appends and acknowledges as fast as it can and is killed at a random moment, again and
// again. It reports each append on a pipe only after it has returned.
TEST_F(SpoolTest, SurvivesKill9) {
  options_.segment_bytes = 6'000;
  Random random(7);
  int64_t reported = 0, acknowledged_least = 0;
  for (int round = 0; round < 10; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe(pipe_fds), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto spool = Spool::Open(options_);
      if (!spool.ok()) ::_exit(1);
      for (int64_t i = reported; i < 100'000; ++i) {
        if (!spool.value()->Append(fmt::format("{:0{}}", i, 1 + i % 50), 1).ok()) ::_exit(1);
        const int64_t message[2] = {i + 1, 0};
        if (::write(pipe_fds[1], message, sizeof message) < 0) ::_exit(1);
        if (i % 3 == 0) spool.value()->Acknowledge(spool.value()->Read(1, 1).value().next);
      }
      ::_exit(0);
    }
    ::close(pipe_fds[1]);
    int64_t message[2];
    const int64_t enough = reported + random.Between(1, 400);
    while (reported < enough && ::read(pipe_fds[0], message, sizeof message) == sizeof message)
      reported = message[0];
    ::kill(child, SIGKILL);
    while (::read(pipe_fds[0], message, sizeof message) == sizeof message) reported = message[0];
    ::close(pipe_fds[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed";

    auto spool = Open();
    const auto chunk = spool->Read(1, 1).value();
    ASSERT_GT(chunk.events, 0);
    const int64_t first = std::stoll(chunk.body);
    // One more may have been appended than reported; nothing reported is missing; in order.
    const int64_t next = first + spool->events();
    ASSERT_TRUE(next == reported || next == reported + 1) << next << " " << reported;
    ASSERT_GE(first, acknowledged_least);
    acknowledged_least = first;
    reported = next;
    auto all = spool->Read(1'000'000, 1 << 20).value();
    std::string expected;
    for (int64_t i = first; i < first + all.events; ++i)
      expected += fmt::format("{:0{}}", i, 1 + i % 50);
    ASSERT_EQ(all.body, expected);
  }
}

TEST_F(SpoolTest, OneThreadAppendsWhileAnotherReads) {
  options_.segment_bytes = 2'000;
  auto spool = Open();
  constexpr int kBodies = 2'000;
  std::thread writer([&] {
    for (int i = 0; i < kBodies; ++i) ASSERT_TRUE(spool->Append(fmt::format("{}\n", i), 1).ok());
  });
  std::string all, expected;
  for (int64_t events = 0; events < kBodies;) {
    const auto chunk = spool->Read(100, 1'000).value();
    all += chunk.body;
    events += chunk.events;
    if (chunk.events > 0) spool->Acknowledge(chunk.next);
  }
  writer.join();
  for (int i = 0; i < kBodies; ++i) expected += fmt::format("{}\n", i);
  EXPECT_EQ(all, expected);
  EXPECT_TRUE(spool->empty());
}

}  // namespace
}  // namespace sightline
