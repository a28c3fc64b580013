#include "live/pace.h"

#include <gtest/gtest.h>

#include <thread>

namespace sightline {
namespace {

using std::chrono::milliseconds;

// No test says how fast something must be: the machine may be busy.
class PaceTest : public testing::Test {
 protected:
  ManualClock clock_{1'000'000};
  Pace rare_{&clock_, {10'000}, {2}, {600'000}};  // its heartbeat never comes
  Pace pace_{&clock_, {10'000}, {2}, {30}};
};

TEST_F(PaceTest, NothingTicksWithoutViews) {
  pace_.Changed();
  std::thread later([&] {
    std::this_thread::sleep_for(milliseconds(80));
    pace_.Stop();
  });
  const Pace::Due due = pace_.Wait();
  later.join();
  EXPECT_TRUE(due.stop);
  EXPECT_FALSE(due.everything());
}

TEST_F(PaceTest, ViewsWithoutViewersOnlyBeat) {
  pace_.SetWatched(1, 0);
  pace_.Changed();
  const Pace::Due due = pace_.Wait();
  EXPECT_TRUE(due.heartbeat);
  EXPECT_FALSE(due.change);
  EXPECT_FALSE(due.pane);
}

TEST_F(PaceTest, ChangeIsDueAtOnceThenAfterThreeTimesTheWork) {
  rare_.SetWatched(1, 1);
  EXPECT_TRUE(rare_.Wait().pane);  // the first round sees a new pane
  rare_.Worked(milliseconds(0));
  rare_.Changed();
  EXPECT_TRUE(rare_.Wait().change);
  rare_.Worked(milliseconds(8));
  const auto worked = Pace::Steady::now();
  rare_.Changed();
  rare_.Changed();
  EXPECT_TRUE(rare_.Wait().change);
  EXPECT_GE(Pace::Steady::now() - worked, milliseconds(23));
}

TEST_F(PaceTest, ChangesBeforeARoundAreOne) {
  pace_.SetWatched(1, 1);
  pace_.Changed();
  pace_.Changed();
  while (!pace_.Wait().change) {
  }
  EXPECT_FALSE(pace_.Wait().change);  // only the heartbeat
}

TEST_F(PaceTest, WantedDoesNotWaitForItsTurnNorTakeTheChange) {
  pace_.SetWatched(1, 1);
  EXPECT_TRUE(pace_.Wait().pane);
  pace_.Worked(std::chrono::hours(1));
  pace_.Changed();
  pace_.Wanted();
  Pace::Due due = pace_.Wait();
  EXPECT_TRUE(due.wanted);
  EXPECT_FALSE(due.change);
  due = pace_.Wait();  // nor do heartbeats wait
  EXPECT_TRUE(due.heartbeat);
  EXPECT_FALSE(due.change);
}

TEST_F(PaceTest, AnotherPaneIsDueHoweverTheClockMoved) {
  rare_.SetWatched(1, 1);
  EXPECT_TRUE(rare_.Wait().pane);
  clock_.Advance(10'000);
  EXPECT_TRUE(rare_.Wait().pane);
  clock_.Advance(-20'000);
  EXPECT_TRUE(rare_.Wait().pane);
}

TEST_F(PaceTest, WakesAtThePaneBoundaryOfTheClock) {
  SystemClock clock;
  Pace pace(&clock, {40}, {2}, {600'000});
  pace.SetWatched(1, 1);
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(pace.Wait().pane);
    pace.Worked(milliseconds(0));
  }
}

}  // namespace
}  // namespace sightline
