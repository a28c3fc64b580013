// up: all of Sightline in one process - embedded log, engine, live, server - and, for the demo, its
// cameras.
//
// The start: lock and open the log; load live from the committed counts; start the engine (each
// partition recovers by itself, docs/SEMANTICS.md "Exactly once"); then the server. The end:
// server, engine (drained and committed), log. Only this file names the concrete classes together.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "config/options.h"

namespace sightline {

// Runs until SIGTERM or SIGINT, which must be blocked in the calling thread. Returns within 5 s of
// the signal with everything committed. `ready` is called with the page's address.
Status RunUp(const Settings& options, const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
