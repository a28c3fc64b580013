// serve: the page and the API over the counts of other processes, read from their topic. Any number
// of them may run: each reads all of it and keeps it in memory.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "config/options.h"

namespace sightline {

// As RunUp() in processes/up.h: runs until SIGTERM or SIGINT, which must be blocked in the calling
// thread.
Status RunServe(const Settings& options, const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
