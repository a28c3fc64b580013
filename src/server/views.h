// Views: parses the parameters of live reads and answers them as docs/PROTOCOL.md says.
#pragma once

#include <variant>

#include "live/hub.h"
#include "live/live.h"
#include "model/types.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace sightline {

// The view that a read asks for; parameters that the route lacks keep their defaults. If a
// parameter is invalid, unknown or repeated, a 400 that names it and says what is accepted.
std::variant<View, Response> ParseView(const Request& request, Route route, Millis pane_size);

// The answers of kTop, kLocations and kLedger.
Response AnswerView(const View& view, Route route, const Live& live);

}  // namespace sightline
