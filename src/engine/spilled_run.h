// SpilledRun: describes consecutive sealed segments that lie in the checkpoint store instead of in
// memory.
//
// A value. The store has the segments' bytes; a checkpoint has only this description.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/checkpoint_store.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

struct SpilledRun {
  RunId id;
  Offset first;
  std::vector<Offset> boundaries;  // where its segments end, ascending; at least one
  int64_t rows = 0;
  int64_t bytes = 0;  // as stored
  Offset next() const { return boundaries.back(); }
  friend bool operator==(const SpilledRun&, const SpilledRun&) = default;
};

// Encodes and describes a run for CheckpointStore::PutRun(). `segments` are contiguous and not
// empty.
std::string EncodeRun(std::span<const Segment> segments);
SpilledRun DescribeRun(RunId id, std::span<const Segment> segments, int64_t bytes);
// Decodes the bytes of a run. kStop if they are of another version, or are not those of `run`. The
// store has checked already that they are the bytes that were put.
Result<std::vector<Segment>> DecodeRun(const SpilledRun& run, std::string_view bytes);

}  // namespace sightline
