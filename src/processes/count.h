// count: the counting of a topic alone, shared with other processes: each has some of the
// partitions, agreed on by a consumer group, and counts them into topics exactly once.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "config/options.h"

namespace sightline {

// As RunUp() in processes/up.h: runs until SIGTERM or SIGINT, which must be blocked in the calling
// thread.
Status RunCount(const Settings& options, const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
