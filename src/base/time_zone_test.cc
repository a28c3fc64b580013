#include "base/time_zone.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

constexpr int64_t kHourMs = 3'600'000;
// Seconds since the epoch as `date -u -d ... +%s` prints them.
constexpr int64_t At(int64_t seconds) { return seconds * 1'000; }

TEST(TimeZone, DefaultIsUtc) {
  EXPECT_EQ(TimeZone{}.StartOfDay(At(1'784'116'800)), At(1'784'073'600));  // 2026-07-15 12:00
  EXPECT_EQ(TimeZone{}.StartOfDay(-1), -86'400'000);
}

TEST(TimeZone, UnknownNamesAreNone) {
  for (const char* name : {"", "Mars/Olympus", "../../../etc/passwd", "/etc/localtime", "europe"})
    EXPECT_FALSE(TimeZone::Find(name).has_value()) << name;
}

// A zoneinfo file without listed transitions (zic -b slim) would fail here.
TEST(TimeZone, SummerTimeOf2026AndLater) {
  const TimeZone berlin = TimeZone::Find("Europe/Berlin").value();
  EXPECT_EQ(berlin.StartOfDay(At(1'784'116'800)), At(1'784'066'400));  // 07-14 22:00Z
  EXPECT_EQ(berlin.StartOfDay(At(1'768'478'400)), At(1'768'431'600));  // 01-14 23:00Z
  const TimeZone new_york = TimeZone::Find("America/New_York").value();
  EXPECT_EQ(new_york.StartOfDay(At(1'784'116'800)), At(1'784'088'000));  // 07-15 04:00Z
  EXPECT_EQ(TimeZone::Find("Asia/Kolkata").value().StartOfDay(At(1'784'116'800)),
            At(1'784'053'800));  // 07-14 18:30Z
}

TEST(TimeZone, DaysOfClockChangesHave23And25Hours) {
  const TimeZone berlin = TimeZone::Find("Europe/Berlin").value();
  // 2026-03-29 and 2026-10-25, local noon.
  const int64_t spring = berlin.StartOfDay(At(1'774'778'400));
  EXPECT_EQ(berlin.StartOfDay(spring + 23 * kHourMs - 1), spring);
  EXPECT_EQ(berlin.StartOfDay(spring + 23 * kHourMs), spring + 23 * kHourMs);
  const int64_t autumn = berlin.StartOfDay(At(1'792'926'000));
  EXPECT_EQ(berlin.StartOfDay(autumn + 25 * kHourMs - 1), autumn);
  EXPECT_EQ(berlin.StartOfDay(autumn + 25 * kHourMs), autumn + 25 * kHourMs);
}

TEST(TimeZone, SkippedMidnightStartsAtTheChange) {
  // Santiago goes from 2025-09-07 00:00 (-04) to 01:00 (-03): the day starts at 04:00Z.
  const TimeZone santiago = TimeZone::Find("America/Santiago").value();
  EXPECT_EQ(santiago.StartOfDay(At(1'757'260'800)), At(1'757'217'600));
}

TEST(TimeZone, LocalTimes) {
  const TimeZone berlin = TimeZone::Find("Europe/Berlin").value();
  const auto moment = [&](int64_t seconds) { return berlin.MomentOf(seconds * 1'000 + 250); };
  const auto at = [](int64_t seconds) { return seconds * 1'000 + 250; };
  EXPECT_EQ(TimeZone{}.MomentOf(-250), -250);
  EXPECT_EQ(moment(1'784'116'800), at(1'784'109'600));  // 2026-07-15 12:00 is 10:00Z
  EXPECT_EQ(moment(1'768'478'400), at(1'768'474'800));  // 2026-01-15 12:00 is 11:00Z
  EXPECT_EQ(moment(1'774'751'400), at(1'774'747'800));  // 2026-03-29 02:30 is skipped: 01:30Z
  EXPECT_EQ(moment(1'792'895'400), at(1'792'888'200));  // 2026-10-25 02:30 is twice: 00:30Z
}

TEST(TimeZone, WholeRangeOfEventTimes) {
  const TimeZone berlin = TimeZone::Find("Europe/Berlin").value();
  for (const int64_t time : {-62'135'596'800'000, 253'402'300'799'999, int64_t{0}}) {
    const int64_t start = berlin.StartOfDay(time);
    EXPECT_LE(start, time);
    EXPECT_LE(time - start, 25 * kHourMs);
  }
}

}  // namespace
}  // namespace sightline
