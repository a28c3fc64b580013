// serve: the page and the API, over counts that other processes write to a topic. Any number of
// `serve` processes may run. Each reads the whole topic and keeps its counts in memory.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "config/options.h"

namespace sightline {

// Runs until SIGTERM or SIGINT, like RunUp() in processes/up.h. The calling thread must have
// blocked both signals.
Status RunServe(const Settings& options, const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
