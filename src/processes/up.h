// up: all of Sightline in one process: embedded log, engine, live and server, and for the demo the
// cameras.
//
// The start locks and opens the log, loads live from the committed counts, starts the engine, in
// which each partition recovers by itself (docs/SEMANTICS.md, "Exactly once"), and then the server.
// The end stops the server, drains and commits the engine, and closes the log.
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
