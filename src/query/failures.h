// What an asker is told when a question has no answer, the same wherever it is computed. Pure.
#pragma once

#include <fmt/format.h>

#include <cstdint>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

inline Status Stopping() {
  return Status::Retry("the server is stopping: ask again when it is back");
}
inline Status Abandoned() { return Status::Stop("nobody waits for the answer any more"); }
inline Status TookTooLong(Millis time) {
  return Status::Stop(fmt::format(
      "the query took longer than {} ms and was stopped: ask for fewer days or locations", time.v));
}
inline Status WaitedTooLong(Millis time, int32_t running_max) {
  return Status::Retry(fmt::format(
      "other queries held all slots for {} ms (query.running_max is {}): try again later", time.v,
      running_max));
}

}  // namespace sightline
