// rekey: a topic written again by camera or detection_oid, for topics that are keyed otherwise.
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
  // Of append time, when there is no position yet; none: the earliest record.
  std::optional<AppendTime> start_at;
  bool until_end = false;
};

std::string_view ToString(RekeyBy by);

// Runs until SIGTERM or SIGINT, which must be blocked in the calling thread; with `until_end` until
// everything that was there at the start is copied.
Status RunRekey(const Settings& options, const RekeyOptions& rekey,
                const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
