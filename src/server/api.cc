#include "server/api.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "live/window_choice.h"
#include "operators/decode.h"
#include "query/utf8.h"
#include "query/write_result.h"
#include "server/parameters.h"

namespace sightline {
namespace {

namespace json = boost::json;

constexpr size_t kAnswerBytesMax = 64 << 20;
constexpr int64_t kRowsMax = 1'000'000, kRowsDefault = 100'000;
constexpr int64_t kItemsMax = 1'000;
constexpr Millis kRangeDefault{3'600'000};
constexpr int kSecondsUntilRetry = 1;

std::vector<std::string_view> Parameters(Route route) {
  switch (route) {
    case Route::kTop:
    case Route::kItems:
      return {"location", "from", "to", "limit", "format"};
    case Route::kCounts:
      return {"location", "item", "from", "to", "step", "format"};
    case Route::kLocations:
      return {"from", "to", "format"};
    case Route::kLedger:
      return {"location", "group", "from", "to", "format"};
    default:
      return {};
  }
}

// What the parameters say; those that a route does not know are not there.
struct Asked {
  std::optional<LocationId> location;
  std::optional<std::string> item;
  std::optional<EventTime> from, to;
  std::optional<int64_t> limit;
  Millis step{60'000};
  LedgerGroup group = LedgerGroup::kNone;
  ResultFormat format = ResultFormat::kJson;

  // The hour before now where nothing was asked; a start without an end reaches to now.
  Window Range(int64_t now_ms) const {
    const EventTime end = to.value_or(EventTime{now_ms + 1});
    return {from.value_or(end - kRangeDefault), end};
  }
};

std::optional<LedgerGroup> ParseGroup(std::string_view text) {
  constexpr std::pair<std::string_view, LedgerGroup> kGroups[] = {
      {"none", LedgerGroup::kNone},     {"location", LedgerGroup::kLocation},
      {"camera", LedgerGroup::kCamera}, {"hour", LedgerGroup::kHour},
      {"source", LedgerGroup::kSource},
  };
  for (const auto& [name, group] : kGroups)
    if (name == text) return group;
  return std::nullopt;
}

// Why the value is refused, or "" and it is in `asked`.
std::string Take(const std::string& name, const std::string& value, Asked& asked) {
  if (name == "location") {
    const auto oid = ParseInteger(value);
    if (!oid && value != "all")
      return BadParameter(name, value, "\"all\" or the oid of a location");
    if (oid) asked.location = LocationId{*oid};
  } else if (name == "item") {
    if (!IsUtf8(value) || value.find('\0') != value.npos)
      return BadParameter(name, value, "UTF-8 text without NUL");
    asked.item = value;
  } else if (name == "from" || name == "to") {
    EventTime time;
    if (!ParseTime(value, TimeUnit::kMillis, &time))
      return BadParameter(name, value, "a time as 2026-11-22T12:00:00Z or Unix milliseconds");
    (name == "from" ? asked.from : asked.to) = time;
  } else if (name == "limit") {
    asked.limit = ParseInteger(value);
    if (!asked.limit || *asked.limit < 1 || *asked.limit > kItemsMax)
      return BadParameter(name, value, fmt::format("a number from 1 to {}", kItemsMax));
  } else if (name == "step") {
    const Result<WindowChoice> step = WindowChoice::Parse(value);
    if (!step.ok() || step.value().today)
      return BadParameter(name, value, "a length of time like 1m, 15m or 1h, up to 24h");
    asked.step = step.value().length;
  } else if (name == "group") {
    const auto group = ParseGroup(value);
    if (!group) return BadParameter(name, value, "none, location, camera, hour or source");
    asked.group = *group;
  } else {
    CHECK(name == "format");
    const Result<ResultFormat> format = ParseResultFormat(value);
    if (!format.ok()) return BadParameter(name, value, "json, ndjson, csv, table or parquet");
    asked.format = format.value();
  }
  return {};
}

std::variant<Asked, Response> ParseAsked(const ApiCall& call) {
  auto parameters = ParseParameters(call.query, Parameters(call.route));
  if (auto* refusal = std::get_if<Response>(&parameters)) return std::move(*refusal);
  Asked asked;
  for (const auto& [name, value] : std::get<ParameterMap>(parameters))
    if (const std::string why = Take(name, value, asked); !why.empty()) return Problem(400, why);
  if (asked.from && asked.to && *asked.from >= *asked.to)
    return Problem(400, "parameter \"from\" is not before \"to\": swap them");
  return asked;
}

Response Explain(const Status& status) {
  if (status.code() == StatusCode::kRetry)
    return TryAgain(503, kSecondsUntilRetry, status.message());
  return Problem(400, status.message());
}

Response Write(Result<ResultTable> table, ResultFormat format) {
  if (!table.ok()) return Explain(table.status());
  Response response{.content_type = std::string(ContentType(format))};
  const Status written = WriteResult(table.value(), format, [&](std::string_view bytes) {
    if (response.body.size() + bytes.size() > kAnswerBytesMax)
      return Status::Stop(fmt::format(
          "the answer is larger than {} MiB: ask for fewer rows, or read the lake's files",
          kAnswerBytesMax >> 20));
    response.body += bytes;
    return Status::Ok();
  });
  if (!written.ok()) return Explain(written);
  if (table.value().truncated()) response.headers.emplace_back("X-Truncated", "true");
  return response;
}

// {"sql": ..., "format": ..., "limit": ...}
Response AnswerQuery(const ApiCall& call, QueryEngine& engine) {
  constexpr std::string_view kShape =
      R"(send {"sql": "SELECT ...", "format": "json", "limit": 100000} as JSON)";
  boost::system::error_code error;
  const json::value body = json::parse(call.body, error);
  if (error || !body.is_object())
    return Problem(400, fmt::format("the body is no JSON object: {}", kShape));
  std::optional<std::string_view> sql;
  ResultFormat format = ResultFormat::kJson;
  QueryLimits limits{.rows_max = kRowsDefault};
  for (const auto& [name, value] : body.get_object()) {
    if (name == "sql" && value.is_string()) {
      sql = std::string_view(value.get_string());
    } else if (name == "format" && value.is_string()) {
      const Result<ResultFormat> parsed = ParseResultFormat(std::string_view(value.get_string()));
      if (!parsed.ok()) return Problem(400, parsed.status().message());
      format = parsed.value();
    } else if (name == "limit" && value.is_int64() && value.get_int64() >= 1 &&
               value.get_int64() <= kRowsMax) {
      limits.rows_max = value.get_int64();
    } else {
      return Problem(400, fmt::format("\"{:.100}\" is unknown or not of its type or range: {}",
                                      std::string_view(name), kShape));
    }
  }
  if (!sql) return Problem(400, fmt::format("\"sql\" is missing: {}", kShape));
  return Write(engine.Run(*sql, call.scope, limits), format);
}

}  // namespace

bool AsksLake(Route route, std::string_view query) {
  static constexpr std::string_view kOfTheLake[] = {"from", "to", "format"};
  switch (route) {
    case Route::kCounts:
    case Route::kItems:
    case Route::kQuery:
      return true;
    case Route::kTop:
    case Route::kLocations:
      return HasParameter(query, kOfTheLake);
    case Route::kLedger:
      return !query.empty();
    default:
      return false;
  }
}

Response AnswerFromLake(const ApiCall& call, QueryEngine& engine, int64_t now_ms) {
  if (call.route == Route::kQuery) return AnswerQuery(call, engine);
  auto parsed = ParseAsked(call);
  if (auto* refusal = std::get_if<Response>(&parsed)) return std::move(*refusal);
  const Asked& asked = std::get<Asked>(parsed);
  const Window range = asked.Range(now_ms);
  switch (call.route) {
    case Route::kTop: {
      const TopRequest request{.location = asked.location,
                               .range = range,
                               .limit = static_cast<int32_t>(asked.limit.value_or(10))};
      return Write(engine.Top(call.scope, request), asked.format);
    }
    case Route::kItems: {
      const ItemsRequest request{.location = asked.location,
                                 .range = range,
                                 .limit = static_cast<int32_t>(asked.limit.value_or(kItemsMax))};
      return Write(engine.Items(call.scope, request), asked.format);
    }
    case Route::kCounts: {
      const CountsRequest request{
          .location = asked.location, .item = asked.item, .range = range, .step = asked.step};
      return Write(engine.Counts(call.scope, request), asked.format);
    }
    case Route::kLocations:
      return Write(engine.Locations(call.scope, range), asked.format);
    case Route::kLedger: {
      LedgerRequest request{.location = asked.location, .group = asked.group};
      if (asked.from || asked.to) request.hours = range;
      return Write(engine.LedgerTotals(call.scope, request), asked.format);
    }
    default:
      CHECK(false);
      return {};
  }
}

}  // namespace sightline
