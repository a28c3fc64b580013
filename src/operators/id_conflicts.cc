#include "operators/id_conflicts.h"

#include <algorithm>

namespace sightline {

void IdConflicts::Add(CameraId first_copy, CameraId copy, DetectionId id) {
  const auto [first, second] = std::minmax(first_copy, copy);
  const auto known = std::ranges::find_if(
      pairs_, [&](const Pair& pair) { return pair.first == first && pair.second == second; });
  if (known != pairs_.end()) {
    std::rotate(known, known + 1, pairs_.end());
  } else {
    if (pairs_.size() == kPairs) pairs_.erase(pairs_.begin());
    pairs_.push_back({.first = first, .second = second});
  }
  Pair& pair = pairs_.back();
  const auto kept = std::min<size_t>(static_cast<size_t>(pair.count), pair.newest.size());
  if (std::ranges::count(std::span(pair.newest).first(kept), id) > 0) return;
  pair.newest[static_cast<size_t>(pair.count++) % pair.newest.size()] = id;
}

}  // namespace sightline
