// IdConflicts: which cameras gave ids of other detections, for monitoring. A value; it costs
// nothing until there is a conflict.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/types.h"

namespace sightline {

class IdConflicts {
 public:
  // The two cameras of a conflict, the lesser one first. They are equal if a camera gave its own id
  // again.
  struct Pair {
    CameraId first, second;
    // The number of ids in conflict, since the pair was added to the list. A camera that repeats a
    // detection in each frame repeats its conflict, so the newest ids are not counted again.
    int64_t count = 0;
    std::array<DetectionId, 8> newest{};
  };

  void Add(CameraId first_copy, CameraId copy, DetectionId id);
  // The pairs of the newest conflicts, the newest one last; at most kPairs.
  std::span<const Pair> pairs() const { return pairs_; }

 private:
  static constexpr size_t kPairs = 16;

  std::vector<Pair> pairs_;
};

}  // namespace sightline
