#include "workers/refused_questions.h"

#include <gtest/gtest.h>

#include <string>

namespace sightline {
namespace {

TEST(RefusedQuestions, ForTenMinutes) {
  RefusedQuestions refused;
  const RefusedQuestions::Time now{};
  EXPECT_FALSE(refused.Find("SELECT 1", now));
  refused.Add("SELECT 1", {.limit = QueryLimit::kCrash, .why = "SIGSEGV"}, now);
  EXPECT_EQ(refused.Find("SELECT 1", now)->why, "SIGSEGV");
  EXPECT_FALSE(refused.Find("SELECT 2", now));
  EXPECT_TRUE(refused.Find("SELECT 1", now + std::chrono::seconds(599)));
  EXPECT_FALSE(refused.Find("SELECT 1", now + std::chrono::seconds(600)));
}

TEST(RefusedQuestions, NeverTooMany) {
  RefusedQuestions refused;
  const RefusedQuestions::Time now{};
  constexpr auto kMore = RefusedQuestions::kQuestionsMax + 10;
  for (size_t i = 0; i < kMore; ++i)
    refused.Add(std::to_string(i), {.why = "x"}, now + std::chrono::milliseconds(i));
  size_t known = 0;
  for (size_t i = 0; i < kMore; ++i) known += refused.Find(std::to_string(i), now) ? 1 : 0;
  EXPECT_EQ(known, RefusedQuestions::kQuestionsMax);
  EXPECT_FALSE(refused.Find("0", now));
}

}  // namespace
}  // namespace sightline
