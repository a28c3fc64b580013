#include "server/waiting_connections.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

TEST(WaitingConnections, TheClientWithTheMostLosesItsOldest) {
  WaitingConnections waiting;
  EXPECT_FALSE(waiting.Take().has_value());
  const int64_t lone = waiting.Add("10.0.0.1", {}, nullptr);
  const int64_t first = waiting.Add("10.0.0.2", {}, nullptr);
  const int64_t second = waiting.Add("10.0.0.2", {}, nullptr);
  const int64_t third = waiting.Add("10.0.0.2", {}, nullptr);
  EXPECT_EQ(waiting.Take()->ticket, first);
  waiting.Remove("10.0.0.2", first);  // too late, and harmless
  EXPECT_EQ(waiting.Take()->ticket, second);
  // Each has one now, which is not taken.
  EXPECT_FALSE(waiting.Take().has_value());
  const int64_t another = waiting.Add("10.0.0.1", {}, nullptr);
  waiting.Remove("10.0.0.2", third);  // it has a request
  EXPECT_EQ(waiting.Take()->ticket, lone);
  EXPECT_FALSE(waiting.Take().has_value());
  waiting.Remove("10.0.0.1", another);
  waiting.Remove("10.0.0.9", 1);
}

}  // namespace
}  // namespace sightline
