#include "connectors/checkpoint_files/checkpoint_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/files.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

const SourcePartition kOfTask{"kafka:x/raw", 2};

// A server that takes connections and never answers.
class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(socket_.fd(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(socket_.fd(), 16), 0);
    EXPECT_EQ(getsockname(socket_.fd(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  StorageOptions options() const {
    return {.hdfs = {{"silent", {.namenodes = {"http://127.0.0.1:" + std::to_string(port_)}}}}};
  }

 private:
  const File socket_;
  int port_ = 0;
};

class CheckpointPlaceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::unique_ptr<CheckpointPlace> Open(const std::string& url,
                                        const StorageOptions& storage = {}) {
    Result<std::unique_ptr<CheckpointPlace>> place =
        CheckpointPlace::Open({.url = url, .storage = storage, .scratch = dir_ / "scratch"});
    EXPECT_TRUE(place.ok()) << place.status().message();
    return std::move(place).value();
  }
  static bool Never() { return false; }

  fs::path dir_;
};

// Waits for the call, for which the worker wakes the task.
template <typename T>
T Answer(StoreWorker& worker, std::future<void> woken, std::function<T(CheckpointStore&)> call) {
  Asked<T> asked = worker.Ask<T>(std::move(call));
  woken.wait();
  std::optional<T> answer = TakeAnswer(asked);
  CHECK(answer.has_value());
  return *answer;
}

TEST_F(CheckpointPlaceTest, AnswersComeFromAnotherThreadAndWakeTheTask) {
  const auto place = Open(dir_ / "checkpoints");
  std::promise<void> first;
  const auto caller = std::this_thread::get_id();
  std::thread::id called;
  auto worker = place->OpenWorker([&first] { first.set_value(); });
  const Status claimed =
      Answer<Status>(*worker, first.get_future(), [&called](CheckpointStore& store) {
        called = std::this_thread::get_id();
        return store.PutIfAbsent(kOfTask, {1}, nullptr);
      });
  EXPECT_TRUE(claimed.ok()) << claimed.message();
  EXPECT_NE(called, caller);
  EXPECT_EQ(OpenCheckpointFiles(dir_ / "checkpoints").value().Latest(kOfTask).value().newest,
            Epoch{1});
}

TEST_F(CheckpointPlaceTest, CallsRunInTheirOrder) {
  const auto place = Open(dir_ / "checkpoints");
  std::promise<void> done;
  std::string order;  // written by the worker's thread only, until `done`
  auto worker = place->OpenWorker(nullptr);
  for (const char name : {'a', 'b', 'c', 'd'})
    worker->Ask<Status>([&order, &done, name](CheckpointStore&) {
      order += name;
      if (name == 'd') done.set_value();
      return Status::Ok();
    });
  done.get_future().wait();
  EXPECT_EQ(order, "abcd");
}

TEST_F(CheckpointPlaceTest, ALargeCheckpointWaitsInAFileWithoutAName) {
  const auto place = Open(dir_ / "checkpoints");
  const auto worker = place->OpenWorker(nullptr);
  const auto spool = worker->NewSpool();
  spool->Write(std::string(ByteSpool::kMemoryMax + 1, 'x'));
  ASSERT_TRUE(spool->Finish().ok());
  EXPECT_GE(spool->fd(), 0);
  EXPECT_TRUE(fs::is_empty(dir_ / "scratch"));
}

// The task is thrown away while its call waits: nobody waits for the call, and nobody is woken.
TEST_F(CheckpointPlaceTest, ATaskLeavesItsCallBehind) {
  auto place = Open(dir_ / "checkpoints");
  std::atomic<int> woken = 0;
  std::promise<void> begun, go_on;
  std::atomic<bool> second_ran = false;
  auto worker = place->OpenWorker([&woken] { ++woken; });
  worker->Ask<Status>([&begun, go = go_on.get_future().share()](CheckpointStore&) {
    begun.set_value();
    go.wait();
    return Status::Ok();
  });
  worker->Ask<Status>([&second_ran](CheckpointStore&) {
    second_ran = true;
    return Status::Ok();
  });
  begun.get_future().wait();
  worker.reset();
  // The next task of the partition has a thread of its own.
  std::promise<void> answered;
  auto next = place->OpenWorker([&answered] { answered.set_value(); });
  EXPECT_TRUE(Answer<Status>(*next, answered.get_future(), [](CheckpointStore&) {
                return Status::Ok();
              }).ok());
  go_on.set_value();
  next.reset();
  place.reset();
  EXPECT_EQ(woken, 0);
  EXPECT_FALSE(second_ran);
}

// The test would wait for half a minute if the end did not break off the call.
TEST_F(CheckpointPlaceTest, TheEndDoesNotWaitForAServerThatIsSilent) {
  const SilentServer server;
  auto place = Open("hdfs://silent/checkpoints", server.options());
  auto worker = place->OpenWorker(nullptr);
  std::promise<void> begun;
  worker->Ask<Status>([&begun](CheckpointStore& store) {
    begun.set_value();
    return store.PutIfAbsent(kOfTask, {1}, nullptr);
  });
  begun.get_future().wait();
  worker.reset();
  const auto start = steady_clock::now();
  place.reset();
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(15));
}

TEST_F(CheckpointPlaceTest, AStopBreaksOffTheStartOfAProcess) {
  const SilentServer server;
  const auto place = Open("hdfs://silent/checkpoints", server.options());
  std::atomic<bool> asked = false;
  const Status status = place->WithSettings([&asked] { return asked.load(); },
                                            [&asked](SettingsStore& store) {
                                              asked = true;
                                              return store.Settings().status();
                                            });
  EXPECT_EQ(status.code(), StatusCode::kRetry);
}

TEST_F(CheckpointPlaceTest, AStartWaitsForAServerThatIsAway) {
  const SilentServer server;
  for (const bool remote : {true, false}) {
    const auto place =
        remote ? Open("hdfs://silent/checkpoints", server.options()) : Open(dir_ / "checkpoints");
    int calls = 0;
    const Status status = place->WithSettings(Never, [&calls](SettingsStore&) {
      return ++calls < 3 ? Status::Retry("away") : Status::Ok();
    });
    EXPECT_EQ(status.ok(), remote);
    EXPECT_EQ(calls, remote ? 3 : 1);
  }
}

// All tasks hold the folder that the start has found, also one that is built while it is away.
TEST_F(CheckpointPlaceTest, ATaskThatIsBuiltWhileTheFolderIsAwayWaitsForIt) {
  const fs::path folder = dir_ / "checkpoints", away = dir_ / "away";
  const auto place = Open(folder);
  ASSERT_TRUE(
      place
          ->WithSettings(Never,
                         [](SettingsStore& store) { return store.PutSettingsIfAbsent("settings"); })
          .ok());
  fs::rename(folder, away);
  fs::create_directory(folder);
  const auto claim = [&place] {
    std::promise<void> woken;
    auto worker = place->OpenWorker([&woken] { woken.set_value(); });
    return Answer<Status>(*worker, woken.get_future(), [](CheckpointStore& store) {
      return store.PutIfAbsent(kOfTask, {1}, nullptr);
    });
  };
  EXPECT_EQ(claim().code(), StatusCode::kRetry);
  EXPECT_TRUE(fs::is_empty(folder));
  fs::remove(folder);
  fs::rename(away, folder);
  EXPECT_TRUE(claim().ok());
}

}  // namespace
}  // namespace sightline
