#include "model/window_choice.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

TEST(WindowChoice, ParsesLengthsAndToday) {
  EXPECT_EQ(WindowChoice::Parse("1m").value().length.v, 60'000);
  EXPECT_EQ(WindowChoice::Parse("90s").value().length.v, 90'000);
  EXPECT_EQ(WindowChoice::Parse("24h").value().length.v, 86'400'000);
  EXPECT_EQ(WindowChoice::Parse("86400s").value().length.v, 86'400'000);
  EXPECT_TRUE(WindowChoice::Parse("today").value().today);
}

TEST(WindowChoice, RefusesEverythingElse) {
  for (const char* text :
       {"", "m", "5", "0m", "-5m", "+5m", " 5m", "5m ", "5 m", "5d", "25h", "86401s",
        "99999999999999999999s", "9223372036854775807h", "5.5m", "0x5m", "Today", "5mm"}) {
    const auto choice = WindowChoice::Parse(text);
    EXPECT_EQ(choice.status().code(), StatusCode::kStop) << text;
  }
}

TEST(WindowChoice, LengthMustBeAMultipleOfThePane) {
  EXPECT_TRUE(WindowChoice::Parse("90s", {10'000}).ok());
  EXPECT_TRUE(WindowChoice::Parse("today", {7'000}).ok());
  EXPECT_EQ(WindowChoice::Parse("95s", {10'000}).status().message(),
            "window \"95s\" is no multiple of the pane: use one of 10000 ms");
}

TEST(WindowChoice, OneSpellingOfAChoice) {
  for (const auto& [text, spelled] : {std::pair{"1m", "1m"},
                                      {"60m", "60m"},
                                      {"1h", "60m"},
                                      {"120m", "2h"},
                                      {"90m", "90m"},
                                      {"90s", "90s"},
                                      {"60s", "1m"},
                                      {"24h", "24h"},
                                      {"today", "today"}}) {
    const WindowChoice choice = WindowChoice::Parse(text).value();
    EXPECT_EQ(choice.ToString(), spelled);
    EXPECT_EQ(WindowChoice::Parse(spelled).value(), choice);
  }
}

}  // namespace
}  // namespace sightline
