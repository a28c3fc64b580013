// Views: the parameters of the live reads, and their answers as docs/PROTOCOL.md has them.
#pragma once

#include <variant>

#include "live/hub.h"
#include "live/live.h"
#include "model/types.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace sightline {

// What a read asks for; parameters that the route does not have keep their defaults. 400 naming the
// parameter and what is accepted where one is bad, unknown or there twice.
std::variant<View, Response> ParseView(const Request& request, Route route, Millis pane_size);

// The answers of kTop, kLocations and kLedger.
Response AnswerView(const View& view, Route route, const Live& live);

}  // namespace sightline
