// Turns Arrow's errors into Status. Internal to this room: it exposes Arrow.
#pragma once

#include <arrow/result.h>
#include <arrow/status.h>
#include <fmt/format.h>

#include <string_view>

#include "base/status.h"

namespace sightline::lake {

// kRetry when memory ran out, otherwise kStop. `what` names the object: "data file 'x' cannot be
// read".
inline Status FromArrow(const arrow::Status& status, std::string_view what) {
  std::string message = fmt::format("{}: {}", what, status.message());
  return status.IsOutOfMemory() ? Status::Retry(std::move(message))
                                : Status::Stop(std::move(message));
}

}  // namespace sightline::lake
