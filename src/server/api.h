// Answers HTTP requests from the lake: POST /v1/query, and reads of any time range
// (docs/PROTOCOL.md). Safe on any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "model/scope.h"
#include "query/query_service.h"
#include "server/http_message.h"
#include "server/routes.h"
#include "server/spool.h"

namespace sightline {

// A request without its connection, so that another thread can answer it.
struct ApiCall {
  Route route = Route::kQuery;
  std::string query;  // of the target, still percent-encoded
  std::string body;   // of kQuery
  Scope scope;
  // When the request came: a query's time limit includes the wait for a slot. None: now.
  std::optional<std::chrono::steady_clock::time_point> start = {};
  std::stop_token abandoned = {};  // stopped when nobody wants the answer any more
};

// A longer body of kQuery is refused before it is read.
constexpr int64_t kQueryBodyBytesMax = 256 * 1024;

// Whether the lake answers the request, not live. It does for /v1/top and /v1/locations with
// `from`, `to` or `format`, and for /v1/ledger with any parameter.
bool IsLakeRequest(Route route, std::string_view query);

// Blocks for as long as a query may take. The answer lies in the response's spool, which takes its
// share of `budget`; null: there is no bound.
Response AnswerFromLake(const ApiCall& call, QueryService& queries, int64_t now_ms,
                        SpoolBudget* budget = nullptr);
// The body of a response, also of one with a spool.
Result<std::string> BodyOf(const Response& response);

}  // namespace sightline
