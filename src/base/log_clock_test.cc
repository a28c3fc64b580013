#include "base/log_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <random>
#include <string>

namespace sightline {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kNow = 1'763'800'000'000, kHour = 3'600'000, kDay = 24 * kHour;

class LogClockTest : public testing::Test {
 protected:
  LogClockTest() {
    machine_.SetSynchronised(false);
    clock_.Begin();
  }
  std::string Trouble() const { return clock_.CheckTrouble().text; }

  ManualClock machine_{kNow};
  LogClock clock_{machine_};
};

TEST_F(LogClockTest, BeginsWithTheMachinesClock) {
  EXPECT_EQ(clock_.NowMs(), kNow);
  machine_.Advance(5'000);
  EXPECT_EQ(clock_.NowMs(), kNow + 5'000);
  EXPECT_EQ(Trouble(), "");
  EXPECT_EQ(clock_.RetentionNowMs(), kNow + 5'000);
}

// A process that stamps no records may have been started while the clock was wrong.
TEST_F(LogClockTest, WithoutALogItIsTheMachinesClock) {
  LogClock clock(machine_);
  for (const int64_t step : {-2 * kHour, 400 * kDay, int64_t{0}}) {
    machine_.Set(kNow + step);
    EXPECT_EQ(clock.NowMs(), kNow + step);
    EXPECT_EQ(clock.CheckTrouble().text, "");
    EXPECT_EQ(clock.RetentionNowMs(), kNow + step);
  }
  clock.Begin();
  machine_.Set(kNow + kDay);
  EXPECT_EQ(clock.NowMs(), kNow);
}

TEST_F(LogClockTest, FollowsSmallStepsAndNeverGoesBack) {
  EXPECT_EQ(clock_.NowMs(), kNow);
  machine_.Set(kNow + kHour - 1);
  EXPECT_EQ(clock_.NowMs(), kNow + kHour - 1);
  machine_.Set(kNow);
  EXPECT_EQ(clock_.NowMs(), kNow + kHour - 1);
  EXPECT_EQ(Trouble(), "");
  EXPECT_EQ(clock_.RetentionNowMs(), kNow) << "the smaller of the two";
}

// 400 days ahead for a moment, and 8 days for two seconds.
TEST_F(LogClockTest, AClockThatIsSetAheadStampsNothingAndRemovesNothing) {
  for (const int64_t ahead : {400 * kDay, 8 * kDay, kHour}) {
    const int64_t before = clock_.NowMs();
    const int64_t wall = machine_.NowMs();
    machine_.Set(wall + ahead);
    EXPECT_EQ(clock_.NowMs(), before);
    machine_.Advance(2'000);
    EXPECT_EQ(clock_.NowMs(), before + 2'000) << "time goes on";
    EXPECT_EQ(clock_.RetentionNowMs(), std::nullopt);
    const LogClock::Trouble trouble = clock_.CheckTrouble();
    EXPECT_EQ(trouble.wall_ahead_ms, ahead);
    EXPECT_FALSE(trouble.refuses);
    EXPECT_THAT(trouble.text,
                AllOf(HasSubstr("ahead of the log's time"), HasSubstr("records get the log's time"),
                      HasSubstr("sightline clock accept")));
    machine_.Set(wall + 2'000);
    EXPECT_EQ(clock_.NowMs(), before + 2'000);
    EXPECT_EQ(Trouble(), "");
  }
}

TEST_F(LogClockTest, AClockThatIsSetBackDoesNotHoldUpTheLog) {
  EXPECT_EQ(clock_.NowMs(), kNow);
  machine_.Set(kNow - 8 * kDay);
  machine_.Advance(60'000);
  EXPECT_EQ(clock_.NowMs(), kNow + 60'000);
  EXPECT_THAT(Trouble(), HasSubstr("8 d behind the log's time"));
  EXPECT_EQ(clock_.RetentionNowMs(), std::nullopt);
}

TEST_F(LogClockTest, ATimeServerIsBelieved) {
  EXPECT_EQ(clock_.NowMs(), kNow);
  machine_.Set(kNow + 8 * kDay);
  EXPECT_EQ(clock_.NowMs(), kNow);
  machine_.SetSynchronised(true);
  EXPECT_EQ(clock_.NowMs(), kNow + 8 * kDay);
  EXPECT_EQ(Trouble(), "");
  // From then on it is the log's time.
  machine_.SetSynchronised(false);
  EXPECT_EQ(clock_.NowMs(), kNow + 8 * kDay);
}

TEST_F(LogClockTest, APersonIsBelievedOnce) {
  EXPECT_EQ(clock_.NowMs(), kNow);
  machine_.Set(kNow + 8 * kDay);
  EXPECT_EQ(clock_.NowMs(), kNow);
  clock_.Accept();
  EXPECT_EQ(clock_.NowMs(), kNow + 8 * kDay);
  EXPECT_EQ(Trouble(), "");
  machine_.Set(kNow + 16 * kDay);
  EXPECT_EQ(clock_.NowMs(), kNow + 8 * kDay) << "the acceptance was of the earlier step";
}

TEST_F(LogClockTest, ALogThatIsAheadSaysSo) {
  clock_.Resume(kNow + 400 * kDay, std::nullopt, 7 * kDay);
  machine_.SetSynchronised(true);
  EXPECT_EQ(clock_.NowMs(), kNow + 400 * kDay);
  EXPECT_THAT(Trouble(),
              AllOf(HasSubstr("400 d behind the log's time"), HasSubstr("new data folder")));
  EXPECT_EQ(clock_.RetentionNowMs(), kNow);
  // To accept the clock does not take the log's time back, but it stands.
  machine_.SetSynchronised(false);
  clock_.Accept();
  machine_.Advance(kDay);
  EXPECT_EQ(clock_.NowMs(), kNow + 400 * kDay);
}

TEST_F(LogClockTest, AfterARestartTheTimeSinceIsKnown) {
  const LogClock::Anchor anchor = clock_.Now();
  EXPECT_EQ(LogClock::Anchor::Parse(anchor.ToText())->boot, anchor.boot);
  machine_.Advance(30 * kDay);  // closed for long: the machine ran on
  LogClock again(machine_);
  again.Resume(anchor.time_ms, LogClock::Anchor::Parse(anchor.ToText()), 7 * kDay);
  EXPECT_EQ(again.NowMs(), kNow + 30 * kDay);
  EXPECT_EQ(again.CheckTrouble().text, "");
  // The clock was set while it was closed.
  machine_.Set(machine_.NowMs() + 2 * kDay);
  LogClock third(machine_);
  third.Resume(anchor.time_ms, anchor, 7 * kDay);
  EXPECT_EQ(third.NowMs(), kNow + 30 * kDay);
  EXPECT_FALSE(third.CheckTrouble().refuses);
  EXPECT_THAT(third.CheckTrouble().text, HasSubstr("2 d ahead"));
}

TEST_F(LogClockTest, AfterARebootThePossibleIsBelieved) {
  const LogClock::Anchor anchor = clock_.Now();
  machine_.Reboot();
  machine_.Set(kNow + 6 * kDay);
  LogClock again(machine_);
  again.Resume(anchor.time_ms, anchor, 7 * kDay);
  EXPECT_EQ(again.NowMs(), kNow + 6 * kDay);
  EXPECT_EQ(again.CheckTrouble().text, "");
}

TEST_F(LogClockTest, AfterARebootTooFarAheadNothingIsTaken) {
  const LogClock::Anchor anchor = clock_.Now();
  machine_.Reboot();
  machine_.Set(kNow + 8 * kDay);
  LogClock again(machine_);
  again.Resume(anchor.time_ms, anchor, 7 * kDay);
  EXPECT_TRUE(again.CheckTrouble().refuses);
  EXPECT_THAT(again.CheckTrouble().text,
              AllOf(HasSubstr("8 d ahead"), HasSubstr("detections are refused")));
  EXPECT_EQ(again.RetentionNowMs(), std::nullopt);
  machine_.Advance(5'000);
  EXPECT_TRUE(again.CheckTrouble().refuses);
  const auto ends = [&](auto&& by) {
    LogClock other(machine_);
    other.Resume(anchor.time_ms, anchor, 7 * kDay);
    EXPECT_TRUE(other.CheckTrouble().refuses);
    by(other);
    EXPECT_EQ(other.CheckTrouble().text, "");
    return other.NowMs();
  };
  EXPECT_EQ(ends([](LogClock& clock) { clock.Accept(); }), machine_.NowMs());
  EXPECT_EQ(ends([&](LogClock&) { machine_.SetSynchronised(true); }), machine_.NowMs());
  machine_.SetSynchronised(false);
  EXPECT_EQ(ends([&](LogClock&) { machine_.Set(kNow + kDay); }), kNow + kDay);
}

TEST_F(LogClockTest, AfterARebootAClockThatIsBehindDoesNotTakeTheLogBack) {
  const LogClock::Anchor anchor = clock_.Now();
  machine_.Reboot();
  machine_.Set(0);  // no battery
  LogClock again(machine_);
  again.Resume(anchor.time_ms, anchor, 7 * kDay);
  EXPECT_EQ(again.NowMs(), kNow);
  EXPECT_FALSE(again.CheckTrouble().refuses);
  EXPECT_THAT(again.CheckTrouble().text, HasSubstr("behind the log's time"));
}

// Whatever is done to the machine's clock: the log's time never goes back, never runs ahead of the
// elapsed time except to a clock that may be believed, and nothing ages while it is in doubt.
TEST_F(LogClockTest, HoldsWhateverIsDoneToTheClock) {
  std::mt19937_64 random(1);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % uint64_t(n)); };
  for (int world = 0; world < 200; ++world) {
    ManualClock machine(kNow);
    machine.SetSynchronised(below(4) == 0);
    LogClock clock(machine);
    clock.Begin();
    int64_t last = clock.NowMs(), last_elapsed = machine.ElapsedMs();
    for (int step = 0; step < 200; ++step) {
      bool accepted = false;
      switch (below(6)) {
        case 0:
          machine.Set(machine.NowMs() + (below(2) == 0 ? 1 : -1) * below(500 * kDay));
          break;
        case 1:
          machine.Set(machine.NowMs() + (below(2) == 0 ? 1 : -1) * below(kHour));
          break;
        case 2:
          machine.SetSynchronised(below(2) == 0);
          break;
        case 3:
          if (below(8) != 0) break;
          clock.Accept();
          accepted = true;
          break;
        default:
          machine.Advance(below(10 * kHour));
      }
      const int64_t now = clock.NowMs();
      const int64_t passed = machine.ElapsedMs() - last_elapsed;
      ASSERT_GE(now, last);
      const int64_t apart = std::abs(machine.NowMs() - now);
      const std::optional<int64_t> retention = clock.RetentionNowMs();
      if (now > last + passed && !accepted && !machine.IsSynchronised()) {
        ASSERT_LT(now - (last + passed), kHour) << "a step of an hour or more was believed";
      }
      ASSERT_EQ(clock.CheckTrouble().text.empty(), apart < kHour);
      if (retention) {
        ASSERT_EQ(*retention, std::min(now, machine.NowMs()));
      }
      last = now;
      last_elapsed = machine.ElapsedMs();
    }
  }
}

TEST(LogClockAnchor, DamagedTextIsNone) {
  for (const char* text :
       {"", "1", "1 ", "1 2", "x 2 boot", "1 x boot", "99999999999999999999 1 b"})
    EXPECT_EQ(LogClock::Anchor::Parse(text), std::nullopt) << text;
}

}  // namespace
}  // namespace sightline
