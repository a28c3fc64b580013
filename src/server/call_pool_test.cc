#include "server/call_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace sightline {
namespace {

// Calls wait in it until it opens.
class Gate {
 public:
  void Wait() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void WaitForWaiting(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int waiting_ = 0;
  bool open_ = false;
};

TEST(CallPool, RunsEveryCallOnItsThreads) {
  std::atomic<int> calls = 0;
  {
    CallPool pool({.threads = 3, .waiting_max = 1'000, .per_client_max = 3});
    for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(pool.Submit({.run = [&] { ++calls; }}));
  }
  EXPECT_EQ(calls, 1'000);
}

TEST(CallPool, AsManyAtATimeAsThreads) {
  Gate gate;
  CallPool pool({.threads = 3, .waiting_max = 3, .per_client_max = 3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.Submit({.run = [&] { gate.Wait(); }}));
  gate.WaitForWaiting(3);
  gate.Open();
}

TEST(CallPool, RefusesWhatWouldWaitTooLong) {
  Gate gate;
  std::atomic<int> calls = 0;
  {
    CallPool pool({.threads = 1, .waiting_max = 2});
    EXPECT_TRUE(pool.Submit({.run = [&] { gate.Wait(); }}));
    gate.WaitForWaiting(1);  // it runs: two may wait
    EXPECT_TRUE(pool.Submit({.run = [&] { ++calls; }}));
    EXPECT_TRUE(pool.Submit({.run = [&] { ++calls; }}));
    bool taken = false;
    EXPECT_FALSE(pool.Submit({.run = [&] { taken = true; }}));
    EXPECT_FALSE(taken);
    gate.Open();
  }
  EXPECT_EQ(calls, 2);  // the end of the pool is the end of what waited
}

TEST(CallPool, WhatIsAbandonedLeavesItsPlace) {
  Gate gate;
  std::atomic<int> calls = 0, abandoned_calls = 0;
  {
    CallPool pool({.threads = 1, .waiting_max = 2});
    EXPECT_TRUE(pool.Submit({.run = [&] { gate.Wait(); }}));
    gate.WaitForWaiting(1);
    std::stop_source gone, here;
    EXPECT_TRUE(pool.Submit({.run = [&] { ++abandoned_calls; }, .abandoned = gone.get_token()}));
    EXPECT_TRUE(pool.Submit({.run = [&] { ++calls; }, .abandoned = here.get_token()}));
    EXPECT_FALSE(pool.Submit({.run = [&] { ++calls; }}));
    EXPECT_EQ(pool.waiting(), 2u);
    gone.request_stop();
    EXPECT_TRUE(pool.Submit({.run = [&] { ++calls; }}));
    EXPECT_FALSE(pool.Submit({.run = [&] { ++calls; }}));
    here.request_stop();  // not yet dropped, and never called
    gate.Open();
  }
  EXPECT_EQ(abandoned_calls, 0);
  EXPECT_EQ(calls, 1);
}

TEST(CallPool, OneClientDoesNotTakeAll) {
  Gate gate;
  std::atomic<int> of_another = 0, more = 0;
  {
    CallPool pool({.threads = 2, .waiting_max = 100, .per_client_max = 1});
    for (int i = 0; i < 10; ++i)
      EXPECT_TRUE(pool.Submit({.run =
                                   [&] {
                                     gate.Wait();
                                     ++more;
                                   },
                               .client = "a"}));
    gate.WaitForWaiting(1);
    // The other overtakes the nine that wait.
    EXPECT_TRUE(pool.Submit({.run = [&] { ++of_another; }, .client = "b"}));
    while (of_another == 0) std::this_thread::yield();
    EXPECT_EQ(pool.waiting(), 9u);
    EXPECT_EQ(more, 0);
    gate.Open();
    while (pool.waiting() > 0) std::this_thread::yield();
  }
  EXPECT_EQ(more, 10);
}

TEST(CallPool, WithoutThreadsItIsEmpty) { const CallPool pool({.threads = 0}); }

}  // namespace
}  // namespace sightline
