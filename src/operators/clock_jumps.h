// ClockJumps: how often a camera's clock was seen to jump, for monitoring. A value.
#pragma once

#include <cstdint>

#include "model/types.h"

namespace sightline {

// A jump: a record without append time lies more than dedup_horizon before the camera's moment
// before (docs/SEMANTICS.md). They are looked for only with WatermarkStep::kBounded.
struct ClockJumps {
  int64_t count = 0;
  CameraId camera;  // of the newest jump
};

}  // namespace sightline
