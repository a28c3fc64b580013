// IncompletePartition: a partition that the engine does not count, and what the lake lacks of it.
#pragma once

#include <string>

#include "model/types.h"

namespace sightline {

struct IncompletePartition {
  SourcePartition partition;
  Offset first, next;  // the missing offsets, [first, next)
  std::string reason;  // why it is not counted
  friend bool operator==(const IncompletePartition&, const IncompletePartition&) = default;
};

}  // namespace sightline
