#include "camera/sender.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "camera/gzip.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kLong{60};  // only a broken sender waits this long
constexpr char kTakenBody[] = R"({"accepted":1,"rejected":0,"errors":[],"errors_truncated":false})";

std::vector<std::string> Lines(std::string_view body) {
  std::vector<std::string> lines;
  std::istringstream stream{std::string(body)};
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// A server in memory. What it answers is decided by `answer`; lines of bodies that were answered
// 200 in our words are in taken().
class FakeServer final : public HttpClient {
 public:
  using Answer = std::function<HttpResponse(int64_t request, std::string_view body)>;

  HttpResponse Get(const std::string&) override { return {0, "", {}, "a sender only posts"}; }
  HttpResponse Post(const std::string& url, const std::vector<std::string>& headers,
                    std::string_view body) override {
    std::unique_lock lock(mutex_);
    url_ = url;
    headers_ = headers;
    times_.push_back(steady_clock::now());
    std::string plain(body);
    if (std::count(headers.begin(), headers.end(), "Content-Encoding: gzip") == 1) {
      plain.clear();
      EXPECT_TRUE(Gunzip().Push(body, &plain).ok());
    }
    changed_.wait(lock, [this] { return !hanging_ || cancelled_; });
    if (cancelled_) return {0, "", {}, "cancelled"};
    HttpResponse response = answer_(requests_++, plain);
    if (response.status == 200 && response.body == kTakenBody) {
      ++bodies_;
      for (std::string& line : Lines(plain)) taken_.push_back(std::move(line));
    }
    changed_.notify_all();
    return response;
  }
  void Cancel() override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

  void SetAnswer(Answer answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  void Hang(bool hanging) {
    const std::lock_guard lock(mutex_);
    hanging_ = hanging;
    changed_.notify_all();
  }
  std::vector<std::string> taken() {
    const std::lock_guard lock(mutex_);
    return taken_;
  }
  bool WaitForTaken(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] { return taken_.size() >= count; });
  }
  bool WaitForRequests(int64_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] { return requests_ >= count; });
  }
  int64_t bodies() {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }
  std::vector<steady_clock::time_point> times() {
    const std::lock_guard lock(mutex_);
    return times_;
  }
  std::string url_;
  std::vector<std::string> headers_;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Answer answer_ = [](int64_t, std::string_view) { return HttpResponse{200, kTakenBody}; };
  bool hanging_ = false;
  bool cancelled_ = false;
  int64_t requests_ = 0;
  int64_t bodies_ = 0;
  std::vector<std::string> taken_;
  std::vector<steady_clock::time_point> times_;
};

HttpResponse Refused() { return {0, "", {}, "connection refused"}; }
HttpResponse Taken() { return {200, kTakenBody}; }

class SenderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // In memory where there is such a place: hundreds of spools would wait for a shared disk.
    const fs::path parent = fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string name = (parent / "sender_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    spool_options_.directory = (root_ / "spool").string();
    options_.batch_time = {5};
    options_.backoff_min = {5};
    options_.backoff_max = {20};
  }
  void TearDown() override {
    sender_.reset();
    spool_.reset();
    fs::remove_all(root_);
  }

  Sender& Start() {
    sender_.reset();
    spool_.reset();
    server_ = std::make_unique<FakeServer>();
    auto spool = Spool::Open(spool_options_);
    EXPECT_TRUE(spool.ok()) << spool.status().message();
    spool_ = std::move(spool).value();
    sender_ = std::make_unique<Sender>(options_, spool_.get(), server_.get(), &clock_);
    return *sender_;
  }
  // Events "<from>" .. "<end - 1>".
  void Offer(int from, int end) {
    for (int i = from; i < end; ++i) ASSERT_TRUE(sender_->Offer(std::to_string(i)));
  }
  static std::vector<std::string> Numbers(int from, int end) {
    std::vector<std::string> numbers;
    for (int i = from; i < end; ++i) numbers.push_back(std::to_string(i));
    return numbers;
  }
  bool Until(const std::function<bool()>& condition) {
    for (const auto end = steady_clock::now() + kLong; steady_clock::now() < end;
         std::this_thread::sleep_for(milliseconds(1)))
      if (condition()) return true;
    return false;
  }
  std::map<std::string, std::string> RefusedFiles() const {
    std::map<std::string, std::string> files;
    for (const auto& entry :
         fs::directory_iterator(fs::path(spool_options_.directory) / "refused")) {
      std::ifstream file(entry.path(), std::ios::binary);
      files[entry.path().filename()] = {std::istreambuf_iterator<char>(file), {}};
    }
    return files;
  }

  fs::path root_;
  SpoolOptions spool_options_;
  SenderOptions options_;
  ManualClock clock_{1'763'800'020'000};
  std::unique_ptr<FakeServer> server_;
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<Sender> sender_;
};

TEST(PostBackoff, GrowsWithinItsBounds) {
  PostBackoff backoff({100}, {5'000}, 1);
  for (int round = 0; round < 2; ++round) {
    int64_t least = 100, most = 200;
    for (int i = 0; i < 12; ++i) {
      const Millis wait = backoff.Next();
      EXPECT_GE(wait.v, least);
      EXPECT_LE(wait.v, most);
      most = std::min<int64_t>(most * 2, 5'000);
      least = std::max<int64_t>(100, most / 2);
    }
    backoff.Reset();
  }
  EXPECT_NE(PostBackoff({100}, {5'000}, 1).Next(), PostBackoff({100}, {5'000}, 2).Next());
}

TEST_F(SenderTest, SendsBatchesByCountInOrder) {
  options_.batch_events_max = 100;
  options_.batch_time = {10'000};
  Sender& sender = Start();
  Offer(0, 1'000);
  ASSERT_TRUE(server_->WaitForTaken(1'000));
  EXPECT_EQ(server_->taken(), Numbers(0, 1'000));
  EXPECT_EQ(server_->bodies(), 10);
  EXPECT_EQ(server_->url_, "http://127.0.0.1:8080/v1/detections");
  EXPECT_TRUE(Until([&] { return sender.idle(); }));
  const SenderCounters counters = sender.counters();
  EXPECT_EQ(counters.offered, 1'000);
  EXPECT_EQ(counters.sent, 1'000);
  EXPECT_EQ(counters.acknowledged, 1'000);
  EXPECT_EQ(counters.requests, 10);
  EXPECT_EQ(counters.spooled + counters.dropped + counters.retries + counters.queued, 0);
}

TEST_F(SenderTest, SendsALonelyEventAfterBatchTime) {
  Start();
  Offer(0, 1);
  EXPECT_TRUE(sender_->Offer("\r\n"));  // nothing
  EXPECT_TRUE(sender_->Offer("1\r\n"));
  ASSERT_TRUE(server_->WaitForTaken(2));
  EXPECT_EQ(server_->taken(), Numbers(0, 2));
}

TEST_F(SenderTest, BatchesByBytes) {
  options_.batch_bytes_max = 1'000;
  options_.batch_time = {10'000};
  Start();
  // Shared: the sender's thread lives longer than this function's variables.
  const auto largest = std::make_shared<std::atomic<size_t>>(0);
  server_->SetAnswer([largest](int64_t, std::string_view body) {
    *largest = std::max(largest->load(), body.size());
    return Taken();
  });
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(sender_->Offer(std::string(99, 'x')));
  ASSERT_TRUE(server_->WaitForTaken(90));
  EXPECT_EQ(*largest, 1'000u);
}

TEST_F(SenderTest, CompressesWhenAsked) {
  options_.gzip = true;
  Start();
  Offer(0, 500);
  ASSERT_TRUE(server_->WaitForTaken(500));
  EXPECT_EQ(server_->taken(), Numbers(0, 500));
  EXPECT_EQ(server_->headers_.back(), "Content-Encoding: gzip");
}

TEST_F(SenderTest, SpoolsWhileTheServerIsAwayAndSendsTheSpoolFirst) {
  Sender& sender = Start();
  Offer(0, 10);
  ASSERT_TRUE(server_->WaitForTaken(10));
  server_->SetAnswer([](int64_t, std::string_view) { return Refused(); });
  Offer(10, 500);
  ASSERT_TRUE(Until([&] { return sender.counters().away; }));
  Offer(500, 1'000);
  ASSERT_TRUE(Until([&] { return sender.counters().spool_events == 990; }));
  // They are in the spool before they leave the queue.
  EXPECT_TRUE(Until([&] { return sender.counters().queued == 0; }));
  EXPECT_TRUE(sender.counters().away);
  server_->SetAnswer([](int64_t, std::string_view) { return Taken(); });
  Offer(1'000, 2'000);
  ASSERT_TRUE(server_->WaitForTaken(2'000));
  EXPECT_EQ(server_->taken(), Numbers(0, 2'000));
  EXPECT_TRUE(Until([&] { return sender.idle(); }));
  EXPECT_FALSE(sender.counters().away);
  EXPECT_GT(sender.counters().retries, 0);
  EXPECT_EQ(sender.counters().dropped, 0);
}

TEST_F(SenderTest, EveryKindOfAwayIsTriedAgain) {
  const HttpResponse answers[] = {Refused(),
                                  {500, "broken"},
                                  {503, "disk full", Millis{1}},
                                  {408, ""},
                                  {429, "", Millis{1}},
                                  {302, "elsewhere"},
                                  {204, ""},
                                  {200, "<html>please log in</html>"},
                                  {200, R"({"accepted":"many"})"}};
  Sender& sender = Start();
  server_->SetAnswer([&](int64_t request, std::string_view) {
    return request < static_cast<int64_t>(std::size(answers)) ? answers[request] : Taken();
  });
  Offer(0, 100);
  ASSERT_TRUE(server_->WaitForTaken(100));
  EXPECT_EQ(server_->taken(), Numbers(0, 100));
  EXPECT_EQ(sender.counters().retries, static_cast<int64_t>(std::size(answers)));
  EXPECT_TRUE(RefusedFiles().empty());
}

TEST_F(SenderTest, RetryAfterIsRespected) {
  Start();
  server_->SetAnswer([](int64_t request, std::string_view) {
    return request == 0 ? HttpResponse{429, "", Millis{150}} : Taken();
  });
  Offer(0, 3);
  ASSERT_TRUE(server_->WaitForTaken(3));
  const auto times = server_->times();
  ASSERT_EQ(times.size(), 2u);
  EXPECT_GE(times[1] - times[0], milliseconds(150));
}

TEST_F(SenderTest, RefusedBodiesAreSetAsideAndTheRestGoesOn) {
  options_.batch_events_max = 10;
  Sender& sender = Start();
  server_->SetAnswer([](int64_t, std::string_view body) {
    return body.find("13\n") != std::string_view::npos ? HttpResponse{400, "nothing usable"}
                                                       : Taken();
  });
  Offer(0, 30);
  ASSERT_TRUE(Until([&] { return sender.idle(); }));
  const SenderCounters counters = sender.counters();
  EXPECT_EQ(counters.acknowledged + counters.refused, 30);
  const auto files = RefusedFiles();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files.begin()->first, "1763800020000-0-400.ndjson");
  EXPECT_NE(files.begin()->second.find("13\n"), std::string::npos);
  EXPECT_EQ(counters.refused, static_cast<int64_t>(Lines(files.begin()->second).size()));
}

TEST_F(SenderTest, ABodyThatTheServerKeepsAsMalformedIsDelivered) {
  options_.batch_events_max = 10;
  Sender& sender = Start();
  server_->SetAnswer([](int64_t request, std::string_view) {
    return request == 0
               ? HttpResponse{422, R"({"type":"about:blank","title":"Unprocessable Content",)"
                                   R"("status":422,"detail":"nothing was accepted: line 1: ...",)"
                                   R"("accepted":0,"rejected":10,"errors":[],)"
                                   R"("errors_truncated":true})"}
               : Taken();
  });
  Offer(0, 20);
  ASSERT_TRUE(Until([&] { return sender.idle(); }));
  const SenderCounters counters = sender.counters();
  EXPECT_EQ(counters.acknowledged, 20);
  EXPECT_EQ(counters.rejected, 10);
  EXPECT_EQ(counters.requests, 2);
  EXPECT_EQ(counters.refused, 0);
  EXPECT_TRUE(RefusedFiles().empty());
}

TEST(SenderClassify, OnlyOurOwn422IsDelivered) {
  using Kind = Sender::Answer::Kind;
  const auto kind = [](std::string body) { return Sender::Classify({422, std::move(body)}).kind; };
  EXPECT_EQ(kind(R"({"accepted":0,"rejected":3})"), Kind::kTaken);
  EXPECT_EQ(kind("blocked by the firewall"), Kind::kRefused);
  EXPECT_EQ(kind(R"({"accepted":0})"), Kind::kRefused);
}

TEST_F(SenderTest, TooLargeBodiesAreHalvedDownToTheLine) {
  options_.batch_events_max = 100;
  options_.batch_time = {10'000};
  Sender& sender = Start();
  server_->SetAnswer([](int64_t, std::string_view body) {
    return body.size() > 40 ? HttpResponse{413, "too large"} : Taken();
  });
  std::vector<std::string> expected;
  for (int i = 0; i < 100; ++i) {
    const std::string line = i == 57 ? std::string(60, 'z') : std::to_string(i);
    ASSERT_TRUE(sender.Offer(line));
    if (i != 57) expected.push_back(line);
  }
  ASSERT_TRUE(Until([&] { return sender.idle(); }));
  EXPECT_EQ(server_->taken(), expected);
  EXPECT_EQ(sender.counters().acknowledged, 99);
  ASSERT_EQ(RefusedFiles().size(), 1u);
  EXPECT_EQ(RefusedFiles().begin()->second, std::string(60, 'z') + "\n");
}

TEST_F(SenderTest, CountsWhatTheServerRejects) {
  Sender& sender = Start();
  server_->SetAnswer([](int64_t, std::string_view) {
    return HttpResponse{200, R"({"accepted":8,"rejected":2,"errors":[],"errors_truncated":false})"};
  });
  options_.batch_time = {10'000};
  Offer(0, 10);
  ASSERT_TRUE(Until([&] { return sender.idle(); }));
  EXPECT_EQ(sender.counters().acknowledged, 10);
  EXPECT_EQ(sender.counters().rejected % 2, 0);
  EXPECT_GE(sender.counters().rejected, 2);
}

TEST_F(SenderTest, StopPutsEverythingOnDiskAndTheNextRunSendsItFirst) {
  Start();
  server_->SetAnswer([](int64_t, std::string_view) { return Refused(); });
  Offer(0, 1'500);
  ASSERT_TRUE(sender_->Stop({5'000}).ok());
  EXPECT_FALSE(sender_->Offer("too late"));
  EXPECT_EQ(sender_->counters().spool_events, 1'500);
  Start();
  Offer(1'500, 2'000);
  ASSERT_TRUE(server_->WaitForTaken(2'000));
  EXPECT_EQ(server_->taken(), Numbers(0, 2'000));
}

TEST_F(SenderTest, StopSendsWhatItCan) {
  options_.batch_time = {60'000};
  Start();
  Offer(0, 10);
  ASSERT_TRUE(sender_->Stop({5'000}).ok());
  EXPECT_EQ(server_->taken(), Numbers(0, 10));
  EXPECT_TRUE(spool_->empty());
}

TEST_F(SenderTest, AHangingServerStopsNeitherCaptureNorStop) {
  options_.memory_time = {20};
  options_.queue_events_max = 500;
  Sender& sender = Start();
  server_->Hang(true);
  const auto begin = steady_clock::now();
  Offer(0, 5'000);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(2));
  // The body under way goes to disk, too, and in its place.
  EXPECT_TRUE(Until([&] { return sender.counters().spool_events == 5'000; }));
  const auto stop = steady_clock::now();
  ASSERT_TRUE(sender.Stop({100}).ok());
  EXPECT_LT(steady_clock::now() - stop, std::chrono::seconds(1));
  EXPECT_EQ(sender.counters().dropped, 0);
  Start();
  ASSERT_TRUE(server_->WaitForTaken(5'000));
  EXPECT_EQ(server_->taken(), Numbers(0, 5'000));
}

TEST_F(SenderTest, ABodySpooledWhileUnderWayIsNotSentTwiceWhenItArrives) {
  options_.memory_time = {20};
  Sender& sender = Start();
  server_->Hang(true);
  Offer(0, 100);
  ASSERT_TRUE(Until([&] { return sender.counters().spool_events == 100; }));
  server_->Hang(false);
  ASSERT_TRUE(Until([&] { return sender.idle(); }));
  EXPECT_EQ(server_->taken(), Numbers(0, 100));
}

TEST_F(SenderTest, AFullSpoolDropsTheNewAndCounts) {
  spool_options_.bytes_max = 2'000;
  options_.queue_events_max = 100;
  options_.batch_events_max = 20;
  Sender& sender = Start();
  server_->SetAnswer([](int64_t, std::string_view) { return Refused(); });
  int64_t taken = 0;
  const auto begin = steady_clock::now();
  for (int i = 0; i < 2'000; ++i) taken += sender.Offer(std::to_string(i)) ? 1 : 0;
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_LT(taken, 2'000);
  EXPECT_EQ(sender.counters().dropped, 2'000 - taken);
  EXPECT_EQ(sender.counters().offered, taken);
  server_->SetAnswer([](int64_t, std::string_view) { return Taken(); });
  ASSERT_TRUE(server_->WaitForTaken(static_cast<size_t>(taken)));
  // What was taken is what came first, in order.
  const std::vector<std::string> got = server_->taken();
  EXPECT_TRUE(std::is_sorted(got.begin(), got.end(), [](const auto& a, const auto& b) {
    return std::stoi(a) < std::stoi(b);
  }));
  EXPECT_EQ(got.front(), "0");
}

TEST_F(SenderTest, WithAFullSpoolStopSaysWhatIsLost) {
  spool_options_.bytes_max = 100;
  Sender& sender = Start();
  server_->SetAnswer([](int64_t, std::string_view) { return Refused(); });
  Offer(0, 100);
  const Status status = sender.Stop({50});
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_NE(status.message().find("events are lost"), std::string::npos) << status.message();
  EXPECT_EQ(sender.counters().dropped + sender.counters().spool_events, 100);
}

TEST_F(SenderTest, AFileWaitsInsteadOfSpoolingOrDropping) {
  options_.overflow = Overflow::kWait;
  options_.queue_events_max = 50;
  options_.batch_events_max = 10;
  options_.memory_time = {1};
  spool_options_.bytes_max = 500;
  Sender& sender = Start();
  // Slow, away for a while, and slow again.
  server_->SetAnswer([](int64_t request, std::string_view) {
    std::this_thread::sleep_for(milliseconds(1));
    return request > 20 && request < 30 ? Refused() : Taken();
  });
  std::thread capture([&] { Offer(0, 2'000); });
  ASSERT_TRUE(server_->WaitForTaken(2'000));
  capture.join();
  EXPECT_EQ(server_->taken(), Numbers(0, 2'000));
  EXPECT_EQ(sender.counters().dropped, 0);
  EXPECT_LT(sender.counters().spooled, 200);
}

TEST_F(SenderTest, StopEndsAWaitingOffer) {
  options_.overflow = Overflow::kWait;
  options_.queue_events_max = 10;
  Start();
  server_->Hang(true);
  std::thread capture([&] {
    while (sender_->Offer("x")) {
    }
  });
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_TRUE(sender_->Stop({10}).ok());
  capture.join();
  EXPECT_EQ(sender_->counters().offered, spool_->events());
}

// A disk that halts in its first record, or that fails after a while, while new events come in and
// the server is back: they must not overtake those in the spooler's hands.
TEST_F(SenderTest, NothingOvertakesWhatTheSpoolerHolds) {
  for (const bool fails : {false, true}) {
    std::atomic<bool> inside{false}, release{false};
    options_.batch_events_max = 5;
    spool_options_.append_fault = [&] {
      inside = true;
      while (!release) std::this_thread::sleep_for(milliseconds(1));
      return fails ? Status::Retry("no space") : Status::Ok();
    };
    Sender& sender = Start();
    // Away until the spooler has events in its hands: else a quick retry could leave it nothing.
    server_->SetAnswer(
        [&](int64_t, std::string_view) { return inside.load() ? Taken() : Refused(); });
    Offer(0, 10);
    ASSERT_TRUE(Until([&] { return inside.load(); }));
    Offer(10, 20);
    std::this_thread::sleep_for(milliseconds(30));  // several backoffs
    EXPECT_TRUE(server_->taken().empty());
    release = true;
    ASSERT_TRUE(Until([&] { return sender.idle(); }));
    EXPECT_EQ(server_->taken(), Numbers(0, 20));
    EXPECT_EQ(sender.counters().spooled == 0, fails);
  }
}

// Anything may go wrong at any request, and the process is restarted now and then: nothing is lost,
// and first copies arrive in order.
TEST_F(SenderTest, LosesNothingAndKeepsOrderInAStorm) {
  options_.batch_time = {1};
  options_.batch_events_max = 50;
  options_.backoff_min = {1};
  options_.backoff_max = {3};
  options_.memory_time = {10};
  spool_options_.segment_bytes = 3'000;
  std::vector<std::string> taken;
  int offered = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    Start();
    Random random(seed);
    server_->SetAnswer([&](int64_t, std::string_view) {
      if (random.Chance(0.05)) std::this_thread::sleep_for(milliseconds(15));
      if (random.Chance(0.3)) return Refused();
      return Taken();
    });
    for (int i = 0; i < 20; ++i) {
      Offer(offered, offered + 60);
      offered += 60;
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_TRUE(sender_->Stop({static_cast<int64_t>(seed % 3) * 5}).ok());
    EXPECT_EQ(sender_->counters().dropped, 0);
    for (std::string& line : server_->taken()) taken.push_back(std::move(line));
  }
  Start();
  EXPECT_TRUE(Until([&] { return sender_->idle(); }));
  for (std::string& line : server_->taken()) taken.push_back(std::move(line));
  std::set<std::string> seen;
  std::vector<std::string> first_copies;
  for (const std::string& line : taken)
    if (seen.insert(line).second) first_copies.push_back(line);
  EXPECT_EQ(first_copies, Numbers(0, offered));
}

TEST(SenderOptions, AreValidated) {
  EXPECT_TRUE(SenderOptions{}.Validate().ok());
  EXPECT_FALSE(SenderOptions{.url = "ftp://x"}.Validate().ok());
  EXPECT_FALSE(SenderOptions{.batch_events_max = 0}.Validate().ok());
}

}  // namespace
}  // namespace sightline
