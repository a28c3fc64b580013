#include "engine/async_answer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/status.h"

namespace sightline {
namespace {

// As the sinks have them: something to destroy, and no answer yet.
struct Answer {
  Status status = Status::Ok();
  std::string found;
};

TEST(AsyncAnswerTest, IsTakenOnceAndNotBeforeItIsFinished) {
  const AnswerWaker waker(nullptr);
  AsyncAnswerPtr<Answer> asked = waker.NewAnswer<Answer>();
  const AsyncAnswerPtr<Answer> answering = asked;
  EXPECT_FALSE(TakeFinished(asked).has_value());
  answering->value() = {.status = Status::Rebuild("fenced"), .found = "it"};
  EXPECT_FALSE(TakeFinished(asked).has_value());
  EXPECT_NE(asked, nullptr);
  answering->Finish();
  const std::optional<Answer> answer = TakeFinished(asked);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status.code(), StatusCode::kRebuild);
  EXPECT_EQ(answer->found, "it");
  EXPECT_EQ(asked, nullptr);
}

TEST(AsyncAnswerTest, WhoIsWokenFindsTheAnswer) {
  AsyncAnswerPtr<Answer> asked;
  std::optional<Answer> taken;
  int calls = 0;
  const AnswerWaker waker([&] {
    ++calls;
    taken = TakeFinished(asked);
  });
  asked = waker.NewAnswer<Answer>();
  const AsyncAnswerPtr<Answer> answering = asked;
  answering->value().found = "it";
  EXPECT_EQ(calls, 0);
  answering->Finish();
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->found, "it");
}

TEST(AsyncAnswerTest, EveryAnswerWakesAndSoDoesOtherNews) {
  int calls = 0;
  const AnswerWaker waker([&] { ++calls; });
  const AsyncAnswerPtr<Answer> first = waker.NewAnswer<Answer>();
  const AsyncAnswerPtr<int> second = waker.NewAnswer<int>();
  second->Finish();
  EXPECT_EQ(calls, 1);
  first->Finish();
  EXPECT_EQ(calls, 2);
  waker.Wake();
  EXPECT_EQ(calls, 3);
}

TEST(AsyncAnswerTest, NobodyIsCalledOnceTheWakerIsSilencedOrGone) {
  int calls = 0;
  auto waker = std::make_unique<AnswerWaker>([&] { ++calls; });
  const AsyncAnswerPtr<Answer> first = waker->NewAnswer<Answer>();
  const AsyncAnswerPtr<Answer> second = waker->NewAnswer<Answer>();
  waker->Silence();
  first->Finish();
  waker->Wake();
  waker.reset();
  second->value().found = "nobody reads it";
  second->Finish();
  EXPECT_EQ(calls, 0);
}

TEST(AsyncAnswerTest, TheDestructorWaitsForACallUnderWay) {
  std::promise<void> called, released;
  std::atomic<bool> returned = false;
  auto waker = std::make_unique<AnswerWaker>([&] {
    called.set_value();
    released.get_future().wait();
    returned = true;
  });
  std::thread answering([answer = waker->NewAnswer<Answer>()] { answer->Finish(); });
  called.get_future().wait();
  std::future<bool> destroyed = std::async(std::launch::async, [&] {
    waker.reset();
    return returned.load();
  });
  EXPECT_EQ(destroyed.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  released.set_value();
  EXPECT_TRUE(destroyed.get());
  answering.join();
}

// For the thread sanitizer, above all: an answering thread, an asking one that polls and is woken,
// and askers that go away with an answer under way.
TEST(AsyncAnswerTest, TwoThreads) {
  constexpr int kRounds = 2'000;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> calls = 0;
    auto waker = std::make_unique<AnswerWaker>([&] { ++calls; });
    AsyncAnswerPtr<Answer> asked = waker->NewAnswer<Answer>();
    std::thread answering([answer = asked, round] {
      answer->value().found = std::to_string(round);
      answer->value().status = Status::Retry("a message that does not fit into the string itself");
      answer->Finish();
    });
    if (round % 2 == 0) {
      std::optional<Answer> answer;
      while (!(answer = TakeFinished(asked))) std::this_thread::yield();
      EXPECT_EQ(answer->found, std::to_string(round));
      EXPECT_EQ(answer->status.code(), StatusCode::kRetry);
    }
    waker.reset();
    const int called = calls;
    asked = nullptr;
    answering.join();
    EXPECT_EQ(calls, called);
  }
}

}  // namespace
}  // namespace sightline
