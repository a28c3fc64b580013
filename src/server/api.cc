#include "server/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/time_zone.h"
#include "base/utf8.h"
#include "model/window_choice.h"
#include "operators/decode.h"
#include "query/write_result.h"
#include "server/parameters.h"

namespace sightline {
namespace {

namespace json = boost::json;

constexpr int64_t kRowsMax = 1'000'000, kRowsDefault = 100'000;
constexpr int64_t kItemsMax = 1'000;
constexpr Millis kRangeDefault{3'600'000};
constexpr Millis kMinute{60'000};
constexpr Millis kStepDefault{60'000};  // or the next multiple of the stored windows

std::vector<std::string_view> ApiParameters(Route route) {
  switch (route) {
    case Route::kTop:
      return {"location", "window", "at", "from", "to", "limit", "format"};
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

// The parsed parameters of a read. A route sets only those that it knows.
struct ReadRequest {
  std::optional<LocationId> location;
  std::optional<std::string> item;
  std::optional<EventTime> from, to;
  std::optional<WindowChoice> window;  // instead of `from` and `to`
  std::optional<int64_t> limit;
  Millis step;
  LedgerGroup group = LedgerGroup::kNone;
  ResultFormat format = ResultFormat::kJson;

  // By default the last hour; a start without an end reaches to now.
  Window Range(int64_t now_ms, const TimeZone& zone) const {
    if (window) return RangeOf(*window, now_ms, zone);
    const EventTime end = to.value_or(EventTime{now_ms + 1});
    return {from.value_or(end - kRangeDefault), end};
  }
  // The stored windows of a minute up to and including the one that now, or `at`, lies in or ends.
  static Window RangeOf(const WindowChoice& window, int64_t now_ms, const TimeZone& zone) {
    const EventTime last = window.end.value_or(EventTime{now_ms}) - Millis{1};
    const EventTime end = WindowStart(last, kMinute) + kMinute;
    return {window.today ? EventTime{zone.StartOfDay(last.v)} : end - window.length, end};
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

// Stores the value in `window`, in any order of the two. Returns "", or the reason why the value is
// refused.
std::string TakeWindow(const std::string& name, const std::string& value,
                       std::optional<WindowChoice>& window) {
  if (!window) window.emplace();
  if (name == "at") {
    const auto at = ParseInteger(value);
    if (!at || *at < kFirstEventTime.v || *at > kLastEventTime.v)
      return BadParameter(name, value, "the end of the window in Unix milliseconds");
    window->end = EventTime{*at};
    return {};
  }
  const Result<WindowChoice> parsed = WindowChoice::Parse(value, kMinute);
  if (!parsed.ok())
    return fmt::format("parameter \"window\" is \"{:.100}\": {}", value, parsed.status().message());
  window->today = parsed.value().today;
  window->length = parsed.value().length;
  return {};
}

// Stores the value in `read`. Returns "", or the reason why the value is refused.
std::string Take(const std::string& name, const std::string& value, ReadRequest& read) {
  if (name == "location") {
    const auto oid = ParseInteger(value);
    if (!oid && value != "all")
      return BadParameter(name, value, "\"all\" or the oid of a location");
    if (oid) read.location = LocationId{*oid};
  } else if (name == "item") {
    if (!IsUtf8(value) || value.find('\0') != value.npos)
      return BadParameter(name, value, "UTF-8 text without NUL");
    read.item = value;
  } else if (name == "from" || name == "to") {
    EventTime time;
    if (!ParseTime(value, TimeUnit::kMillis, &time))
      return BadParameter(name, value, "a time like 2026-11-22T12:00:00Z or Unix milliseconds");
    (name == "from" ? read.from : read.to) = time;
  } else if (name == "window" || name == "at") {
    return TakeWindow(name, value, read.window);
  } else if (name == "limit") {
    read.limit = ParseInteger(value);
    if (!read.limit || *read.limit < 1 || *read.limit > kItemsMax)
      return BadParameter(name, value, fmt::format("a number from 1 to {}", kItemsMax));
  } else if (name == "step") {
    const Result<WindowChoice> step = WindowChoice::Parse(value);
    if (!step.ok() || step.value().today)
      return BadParameter(name, value, "a length of time like 1m, 15m or 1h, up to 24h");
    read.step = step.value().length;
  } else if (name == "group") {
    const auto group = ParseGroup(value);
    if (!group) return BadParameter(name, value, "none, location, camera, hour or source");
    read.group = *group;
  } else {
    CHECK(name == "format");
    const Result<ResultFormat> format = ParseResultFormat(value);
    if (!format.ok()) return BadParameter(name, value, kResultFormats);
    read.format = format.value();
  }
  return {};
}

// `window_size` is that of the stored counts: the smallest step, and the unit of all others.
std::variant<ReadRequest, Response> ParseReadRequest(const ApiCall& call, Millis window_size) {
  auto parameters = ParseParameters(call.query, ApiParameters(call.route));
  if (auto* refusal = std::get_if<Response>(&parameters)) return std::move(*refusal);
  ReadRequest read;
  read.step = {(kStepDefault.v + window_size.v - 1) / window_size.v * window_size.v};
  for (const auto& [name, value] : std::get<ParameterMap>(parameters))
    if (const std::string why = Take(name, value, read); !why.empty()) return Problem(400, why);
  if (call.route == Route::kCounts && read.step.v % window_size.v != 0)
    return Problem(
        400, fmt::format("parameter \"step\" is not a multiple of {}, the length of the stored "
                         "windows and the smallest step: use a multiple of it",
                         WindowChoice{.length = window_size}.ToString()));
  if (read.window && (read.from || read.to))
    return Problem(
        400,
        "parameter \"window\" or \"at\" is not allowed with \"from\" or \"to\": use either "
        "the window, or the range");
  if (read.from && read.to && *read.from >= *read.to)
    return Problem(400, "parameter \"from\" is not before \"to\": use an earlier \"from\"");
  return read;
}

// The time zone in which "today" begins, as on the page: that of the location, else UTC.
Result<TimeZone> ZoneFor(const ReadRequest& read, const Scope& scope, const QueryService& queries) {
  if (!read.window || !read.window->today || !read.location) return TimeZone();
  const Result<std::string> name = queries.TimeZoneOf(scope, *read.location);
  if (!name.ok()) return name.status();
  return name.value().empty() ? TimeZone() : TimeZone::Find(name.value()).value_or(TimeZone());
}

// The value of X-Incomplete (docs/PROTOCOL.md): JSON in ASCII, short enough for every proxy.
std::string IncompleteHeader(const std::vector<IncompletePartition>& incomplete) {
  constexpr size_t kBytesMax = 3'000, kReasonBytesMax = 300;
  const auto ascii = [](std::string text) {
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) > 126; }, '?');
    return text;
  };
  std::string list = "[";
  for (size_t i = 0; i < incomplete.size(); ++i) {
    const auto& [partition, first, next, reason] = incomplete[i];
    if (i > 0) list += ',';
    if (list.size() > kBytesMax)
      return list + fmt::format(R"({{"more":{}}}])", incomplete.size() - i);
    list += R"({"source":)";
    AppendJsonString(list, ascii(partition.source));
    list += fmt::format(R"(,"partition":{},"first":{},"next":{},"reason":)", partition.partition,
                        first.v, next.v);
    AppendJsonString(list, ascii(reason.substr(0, kReasonBytesMax)));
    list += '}';
  }
  return list + ']';
}

// docs/PROTOCOL.md explains the use of 500, 504 and 507.
Response Explain(const Status& status, QueryLimit limit) {
  if (status.code() == StatusCode::kRetry)
    return TryAgain(503, kRetryAfterSeconds, status.message());
  switch (limit) {
    case QueryLimit::kTime:
      return Problem(504, status.message());
    case QueryLimit::kMemory:
      return Problem(507, status.message());
    case QueryLimit::kCrash:
      return Problem(500, status.message());
    case QueryLimit::kNone:
      break;
  }
  return Problem(400, status.message());
}

// Asks the lake for one call, and turns the outcome into a response.
class Asking {
 public:
  Asking(const ApiCall& call, QueryService& queries, SpoolBudget* budget)
      : call_(call), queries_(queries), budget_(budget) {}

  template <typename Request>
  Response Ask(Request request, ResultFormat format, int64_t rows_max) {
    const Question question{.request = std::move(request), .scope = call_.scope, .format = format};
    const QueryLimits limits{
        .rows_max = rows_max, .start = call_.start, .abandoned = call_.abandoned};
    const auto spool = std::make_shared<Spool>(budget_);
    const AnswerEnd end =
        queries_.Answer(question, limits,
                        {.append = [&](std::string_view bytes) { return spool->Append(bytes); },
                         .clear = [&] { spool->Clear(); }});
    if (!end.status.ok())
      return Explain(end.status, spool->too_large() ? QueryLimit::kMemory : end.limit);
    Response response{.content_type = std::string(ContentType(format))};
    response.spool = spool;
    if (end.truncated) response.headers.emplace_back("X-Truncated", "true");
    if (!end.incomplete.empty())
      response.headers.emplace_back("X-Incomplete", IncompleteHeader(end.incomplete));
    return response;
  }

 private:
  const ApiCall& call_;
  QueryService& queries_;
  SpoolBudget* const budget_;
};

// {"sql": ..., "format": ..., "limit": ...}
Response AnswerQuery(const ApiCall& call, Asking& asking) {
  constexpr std::string_view kShape =
      R"(send {"sql": "SELECT ...", "format": "json", "limit": 100000} as JSON)";
  boost::system::error_code error;
  const json::value body = json::parse(call.body, error);
  if (error || !body.is_object())
    return Problem(400, fmt::format("the body is not a JSON object: {}", kShape));
  std::optional<std::string_view> sql;
  ResultFormat format = ResultFormat::kJson;
  int64_t rows_max = kRowsDefault;
  for (const auto& [name, value] : body.get_object()) {
    if (name == "sql" && value.is_string()) {
      sql = std::string_view(value.get_string());
    } else if (name == "format" && value.is_string()) {
      const Result<ResultFormat> parsed = ParseResultFormat(std::string_view(value.get_string()));
      if (!parsed.ok()) return Problem(400, parsed.status().message());
      format = parsed.value();
    } else if (name == "limit" && value.is_int64() && value.get_int64() >= 1 &&
               value.get_int64() <= kRowsMax) {
      rows_max = value.get_int64();
    } else {
      return Problem(400, fmt::format("\"{:.100}\" is unknown, or its type or range is wrong: {}",
                                      std::string_view(name), kShape));
    }
  }
  if (!sql) return Problem(400, fmt::format("\"sql\" is missing: {}", kShape));
  return asking.Ask(SqlRequest{std::string(*sql)}, format, rows_max);
}

}  // namespace

bool IsLakeRequest(Route route, std::string_view query) {
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

Response AnswerFromLake(const ApiCall& call, QueryService& queries, int64_t now_ms,
                        SpoolBudget* budget) {
  Asking asking(call, queries, budget);
  if (call.route == Route::kQuery) return AnswerQuery(call, asking);
  auto parsed = ParseReadRequest(call, queries.window_size());
  if (auto* refusal = std::get_if<Response>(&parsed)) return std::move(*refusal);
  const ReadRequest& read = std::get<ReadRequest>(parsed);
  const Result<TimeZone> zone = ZoneFor(read, call.scope, queries);
  if (!zone.ok()) return Explain(zone.status(), QueryLimit::kNone);
  const Window range = read.Range(now_ms, zone.value());
  switch (call.route) {
    case Route::kTop:
      return asking.Ask(TopRequest{.location = read.location,
                                   .range = range,
                                   .limit = static_cast<int32_t>(read.limit.value_or(10))},
                        read.format, kRowsMax);
    case Route::kItems:
      return asking.Ask(ItemsRequest{.location = read.location,
                                     .range = range,
                                     .limit = static_cast<int32_t>(read.limit.value_or(kItemsMax))},
                        read.format, kRowsMax);
    case Route::kCounts:
      return asking.Ask(
          CountsRequest{
              .location = read.location, .item = read.item, .range = range, .step = read.step},
          read.format, kRowsMax);
    case Route::kLocations:
      return asking.Ask(LocationsRequest{range}, read.format, kRowsMax);
    case Route::kLedger: {
      LedgerRequest request{.location = read.location, .group = read.group};
      if (read.from || read.to) request.hours = range;
      return asking.Ask(request, read.format, kRowsMax);
    }
    default:
      CHECK(false);
      return {};
  }
}

Result<std::string> BodyOf(const Response& response) {
  if (response.spool == nullptr) return response.body;
  std::string body(static_cast<size_t>(response.spool->size()), '\0');
  for (size_t offset = 0; offset < body.size();) {
    const Result<size_t> read =
        response.spool->Read(static_cast<int64_t>(offset), std::span(body).subspan(offset));
    if (!read.ok()) return read.status();
    if (read.value() == 0) return Status::Stop("an answer is shorter than it was");
    offset += read.value();
  }
  return body;
}

}  // namespace sightline
