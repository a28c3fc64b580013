// Ranking: ranks the items of a window and finds what moved. docs/SEMANTICS.md, "Top items".
//
// Pure functions on values, safe on any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/types.h"

namespace sightline {

struct TopRow {
  int32_t position = 0;  // 1..n: by count, largest first, then by item name in byte order
  int32_t rank = 0;      // SQL's RANK()
  std::string item;
  int64_t count = 0;
  int64_t provisional = 0;  // the part of `count` in panes that are not complete yet
  friend bool operator==(const TopRow&, const TopRow&) = default;
};

struct Top {
  std::optional<LocationId> location;  // none: all locations of the scope together
  Window window;
  Watermark complete_until = kBeforeAllTime;  // panes that end at or before it are complete
  int64_t total = 0;
  int64_t other = 0;  // total minus the rows, so that the sum always adds up
  int32_t items = 0;  // distinct items in the window
  std::vector<TopRow> rows;
};

// An item and its count before ranking. `item` is borrowed.
struct Candidate {
  const std::string* item = nullptr;
  int64_t count = 0;
  uint32_t tag = 0;  // free for the caller; stays with the item
};
constexpr bool RanksBefore(const Candidate& a, const Candidate& b) {
  if (a.count != b.count) return a.count > b.count;
  return *a.item < *b.item;
}

// Sorts the first `limit` candidates to the front, leaves the rest in any order, and fills total,
// other, items and rows of `top`. Counts are positive. O(n + limit log limit).
void RankTop(std::vector<Candidate>& candidates, int32_t limit, Top& top);

// How one item moved between two lists of rows. `from` and `to` are positions.
struct Move {
  enum class Kind : uint8_t { kEntered, kLeft, kMoved };
  std::string item;
  Kind kind = Kind::kMoved;
  int32_t from = 0;  // 0 when entered
  int32_t to = 0;    // 0 when left
  friend bool operator==(const Move&, const Move&) = default;
};
// First the items that entered or moved, by new position, then those that left, by old position.
std::vector<Move> MovesBetween(std::span<const TopRow> before, std::span<const TopRow> after);

}  // namespace sightline
