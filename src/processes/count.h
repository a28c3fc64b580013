// count: counts a topic, and does nothing else. Several such processes share the partitions through
// a consumer group. Each counts its own into topics, exactly once.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "config/options.h"

namespace sightline {

// Runs until SIGTERM or SIGINT, like RunUp() in processes/up.h. The calling thread must have
// blocked both signals.
Status RunCount(const Settings& options, const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
