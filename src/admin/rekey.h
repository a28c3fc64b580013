// rekey: copies a topic into another one that is keyed by camera or detection_oid.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/rekey_map.h"
#include "model/types.h"

namespace sightline {

struct RekeyOptions {
  RekeyBy by = RekeyBy::kCamera;
  std::string from, to;  // topics
  // The append time from which to copy, if there is no position yet. Nothing: the earliest record.
  std::optional<AppendTime> start_at;
  bool until_end = false;
};

std::string_view ToString(RekeyBy by);

// Runs until SIGTERM or SIGINT, which must be blocked in the calling thread. With `until_end` it
// ends when everything that was there at the start is copied. Calls `ready` once its server
// listens.
Status RunRekey(const Settings& options, const RekeyOptions& rekey,
                const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
