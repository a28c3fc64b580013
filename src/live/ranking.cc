#include "live/ranking.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace sightline {

void RankTop(std::vector<Candidate>& candidates, int32_t limit, Top& top) {
  top.items = static_cast<int32_t>(candidates.size());
  top.total = 0;
  for (const Candidate& candidate : candidates) top.total += candidate.count;
  const size_t n = std::min(candidates.size(), static_cast<size_t>(std::max(limit, 0)));
  const auto first_out = candidates.begin() + static_cast<int64_t>(n);
  if (n < candidates.size()) {
    std::nth_element(candidates.begin(), first_out, candidates.end(), RanksBefore);
  }
  std::sort(candidates.begin(), first_out, RanksBefore);
  top.rows.resize(n);
  top.other = top.total;
  for (size_t i = 0; i < n; ++i) {
    TopRow& row = top.rows[i];
    row.position = static_cast<int32_t>(i) + 1;
    const bool tied = i > 0 && candidates[i].count == candidates[i - 1].count;
    row.rank = tied ? top.rows[i - 1].rank : row.position;
    row.item = *candidates[i].item;
    row.count = candidates[i].count;
    row.provisional = 0;
    top.other -= row.count;
  }
}

std::vector<Move> MovesBetween(std::span<const TopRow> before, std::span<const TopRow> after) {
  std::vector<Move> moves;
  const auto same_item = [](const TopRow& a, const TopRow& b) { return a.item == b.item; };
  if (std::equal(before.begin(), before.end(), after.begin(), after.end(), same_item)) return moves;
  std::unordered_map<std::string_view, int32_t> was;
  for (const TopRow& row : before) was.emplace(row.item, row.position);
  for (const TopRow& row : after) {
    const auto it = was.find(row.item);
    if (it == was.end()) {
      moves.push_back({row.item, Move::Kind::kEntered, 0, row.position});
      continue;
    }
    if (it->second != row.position) {
      moves.push_back({row.item, Move::Kind::kMoved, it->second, row.position});
    }
    was.erase(it);
  }
  for (const TopRow& row : before) {
    if (was.contains(row.item)) moves.push_back({row.item, Move::Kind::kLeft, row.position, 0});
  }
  return moves;
}

}  // namespace sightline
