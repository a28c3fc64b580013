// What the lake answers over HTTP: POST /v1/query, and the reads of any past (docs/PROTOCOL.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "model/scope.h"
#include "query/query_engine.h"
#include "server/http_message.h"
#include "server/memory_budget.h"
#include "server/routes.h"

namespace sightline {

// A request with nothing of its connection, to be answered on another thread.
struct ApiCall {
  Route route = Route::kQuery;
  std::string query;  // of the target, not decoded
  std::string body;   // of kQuery
  Scope scope;
  // When it came: waiting for its turn is part of a query's time. None: now.
  std::optional<std::chrono::steady_clock::time_point> start = {};
  std::stop_token abandoned = {};  // stopped when nobody wants the answer any more
};

// Of the answers; null: no bound for all together. An answer has at most kAnswerBytesMax, and no
// more than fits while it grows.
constexpr int64_t kAnswerBytesMax = 64 << 20;
struct AnswerMemory {
  MemoryBudget* budget = nullptr;
  int64_t bytes_max = kAnswerBytesMax;  // of one
};
AnswerMemory ShareOf(MemoryBudget* budget, int64_t budget_bytes_max);

// Longer texts of kQuery are refused before they are read.
constexpr int64_t kQueryBodyBytesMax = 256 * 1024;

// Whether the lake is asked, or live: /v1/top and /v1/locations ask it with `from`, `to` or
// `format`, /v1/ledger with any parameter.
bool IsLakeRequest(Route route, std::string_view query);

// May take as long as a query may. Any thread. The response holds its part of `memory`.
Response AnswerFromLake(const ApiCall& call, QueryEngine& engine, int64_t now_ms,
                        const AnswerMemory& memory = {});

}  // namespace sightline
