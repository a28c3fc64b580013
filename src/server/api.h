// What the lake answers over HTTP: POST /v1/query, and the reads of any past (docs/PROTOCOL.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "live/scope.h"
#include "query/query_engine.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace sightline {

// A request with nothing of its connection, to be answered on another thread.
struct ApiCall {
  Route route = Route::kQuery;
  std::string query;  // of the target, not decoded
  std::string body;   // of kQuery
  Scope scope;
};

// Longer texts of kQuery are refused before they are read.
constexpr int64_t kQueryBodyBytesMax = 256 * 1024;

// Whether the lake is asked, or live: /v1/top and /v1/locations ask it with `from`, `to` or
// `format`, /v1/ledger with any parameter.
bool AsksLake(Route route, std::string_view query);

// May take as long as a query may. Any thread.
Response AnswerFromLake(const ApiCall& call, QueryEngine& engine, int64_t now_ms);

}  // namespace sightline
