#include "live/ranking.h"

#include <gtest/gtest.h>

#include <deque>

namespace sightline {
namespace {

class Ranking : public testing::Test {
 protected:
  Top Rank(std::initializer_list<std::pair<std::string, int64_t>> counts, int32_t limit) {
    std::vector<Candidate> candidates;
    for (const auto& [item, count] : counts)
      candidates.push_back({&names_.emplace_back(item), count, 0});
    Top top;
    RankTop(candidates, limit, top);
    return top;
  }
  std::deque<std::string> names_;
};

TEST_F(Ranking, CountThenNameBytesAndSqlRank) {
  const Top top = Rank({{"b", 5}, {"a", 5}, {"\xc3\xa4", 5}, {"B", 5}, {"z", 9}, {"y", 1}}, 10);
  ASSERT_EQ(top.rows.size(), 6u);
  const std::vector<std::tuple<std::string, int, int>> expected = {
      {"z", 1, 1}, {"B", 2, 2}, {"a", 3, 2}, {"b", 4, 2}, {"\xc3\xa4", 5, 2}, {"y", 6, 6}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(std::tuple(top.rows[i].item, top.rows[i].position, top.rows[i].rank), expected[i]);
  }
  EXPECT_EQ(top.total, 30);
  EXPECT_EQ(top.other, 0);
  EXPECT_EQ(top.items, 6);
}

TEST_F(Ranking, LimitCutsAndOtherAddsUp) {
  const Top top = Rank({{"a", 1}, {"b", 2}, {"c", 3}, {"d", 3}}, 3);
  ASSERT_EQ(top.rows.size(), 3u);
  EXPECT_EQ(top.rows[0].item, "c");
  EXPECT_EQ(top.rows[1].item, "d");
  EXPECT_EQ(top.rows[2].rank, 3);
  EXPECT_EQ(top.other, 1);
  EXPECT_EQ(top.items, 4);
  EXPECT_EQ(Rank({{"a", 1}}, 0).other, 1);
  EXPECT_EQ(Rank({{"a", 1}}, -7).rows.size(), 0u);
  EXPECT_EQ(Rank({}, 5).total, 0);
}

std::vector<TopRow> Rows(std::initializer_list<const char*> items) {
  std::vector<TopRow> rows;
  for (const char* item : items)
    rows.push_back({.position = static_cast<int32_t>(rows.size()) + 1, .item = item});
  return rows;
}

TEST(Moves, EnteredMovedLeft) {
  using enum Move::Kind;
  EXPECT_EQ(MovesBetween(Rows({"a", "b"}), Rows({"a", "b"})), std::vector<Move>{});
  EXPECT_EQ(
      MovesBetween(Rows({"a", "b", "c"}), Rows({"b", "a", "d"})),
      (std::vector<Move>{
          {"b", kMoved, 2, 1}, {"a", kMoved, 1, 2}, {"d", kEntered, 0, 3}, {"c", kLeft, 3, 0}}));
  EXPECT_EQ(MovesBetween(Rows({}), Rows({"a"})), (std::vector<Move>{{"a", kEntered, 0, 1}}));
  EXPECT_EQ(MovesBetween(Rows({"a"}), Rows({})), (std::vector<Move>{{"a", kLeft, 1, 0}}));
}

}  // namespace
}  // namespace sightline
