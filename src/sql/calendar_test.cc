#include "sql/calendar.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

constexpr Day kDay{20458};  // 2026-01-05

TEST(CalendarTest, ExactTextsNameTheirDay) {
  for (const char* text :
       {"2026-01-05", "2026-01-05 00:00", "2026-01-05T23:59", "2026-01-05 10:03:00",
        "2026-01-05T10:03:00.5", "2026-01-05 23:59:59.999999Z"}) {
    EXPECT_EQ(ParseDays(text), (std::pair{kDay, Day{kDay.v + 1}})) << text;
  }
  for (const char* text : {"2026-01-05 10:03:00+01", "2026-01-05T10:03:00.000-15:59"}) {
    EXPECT_EQ(ParseDays(text), (std::pair{Day{kDay.v - 1}, Day{kDay.v + 2}})) << text;
  }
}

// Of some of them DuckDB makes another day, of some an error. We need not know.
TEST(CalendarTest, OtherTextsNameNone) {
  for (const char* text : {"",
                           "2026",
                           "2026-1-5",
                           "2026-02-30",
                           "2026-01-05 ",
                           " 2026-01-05",
                           "2026-01-05x",
                           "12026-01-05",
                           "-2026-01-05",
                           "2026-01-05 (BC)",
                           "2026-01-05Z",
                           "2026-01-05+01",
                           "2026-01-05 1:00:00",
                           "2026-01-05 24:00:00",
                           "2026-01-05 23:60:00",
                           "2026-01-05 23:59:60",
                           "2026-01-05 10",
                           "2026-01-05 10:03Z",
                           "2026-01-05 10:03:00.",
                           "2026-01-05 10:03:00.1234567",
                           "2026-01-05 10:03:00 +01",
                           "2026-01-05 10:03:00+1",
                           "2026-01-05 10:03:00+16",
                           "2026-01-05 10:03:00+01:75",
                           "2026-01-05 10:03:00+01:00:00",
                           "2026-01-05 10:03:00 UTC",
                           "2026-01-05t10:03:00",
                           "2026-01-05  10:03:00",
                           "infinity",
                           "epoch"}) {
    EXPECT_EQ(ParseDays(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace sightline
