#include "server/api.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <boost/json.hpp>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"
#include "live/time_zone.h"
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
    return {window.today ? zone.StartOfDay(last) : end - window.length, end};
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
    if (!format.ok()) return BadParameter(name, value, "json, ndjson, csv, table or parquet");
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
Result<TimeZone> ZoneFor(const ReadRequest& read, const Scope& scope, const QueryEngine& engine) {
  if (!read.window || !read.window->today || !read.location) return TimeZone();
  const Result<std::string> name = engine.TimeZoneOf(scope, *read.location);
  if (!name.ok()) return name.status();
  return name.value().empty() ? TimeZone() : TimeZone::Find(name.value()).value_or(TimeZone());
}

// The body of a response, which reserves its memory before it grows.
class AnswerBody {
 public:
  explicit AnswerBody(const AnswerMemory& memory) : memory_(memory), claim_(memory.budget) {}

  Status Append(std::string_view bytes) {
    const auto needed = static_cast<int64_t>(text_.size() + bytes.size());
    if (needed > memory_.bytes_max) return TooLarge();
    if (needed > static_cast<int64_t>(text_.capacity())) {
      // reserve() copies the text, so both buffers exist for a moment.
      const auto capacity = std::bit_ceil(static_cast<uint64_t>(needed));
      RETURN_IF_ERROR(Claim(static_cast<int64_t>(capacity + text_.capacity())));
      text_.reserve(capacity);
      RETURN_IF_ERROR(Claim(static_cast<int64_t>(text_.capacity())));
    }
    text_ += bytes;
    return Status::Ok();
  }
  // Reserves memory for rows that become text later. It is released only with the whole answer.
  Status Reserve(int64_t bytes) {
    reserved_ += bytes;
    if (reserved_ > memory_.bytes_max) return TooLarge();
    return Claim(static_cast<int64_t>(text_.capacity()));
  }
  bool too_large() const { return too_large_; }
  void MoveInto(Response& response) {
    response.body = std::move(text_);
    response.memory = std::move(claim_);
  }

 private:
  Status Claim(int64_t bytes) {
    if (claim_.Resize(reserved_ + bytes)) return Status::Ok();
    return Status::Retry(
        "the answers in progress use up query.answer_memory_max: ask again later, or ask for "
        "fewer rows");
  }
  Status TooLarge() {
    too_large_ = true;
    return Status::Stop(
        fmt::format("the answer is larger than {} MiB: ask for fewer rows or columns, or read the "
                    "lake's files (docs/LAKE.md)",
                    memory_.bytes_max >> 20));
  }

  const AnswerMemory memory_;
  MemoryClaim claim_;
  std::string text_;
  int64_t reserved_ = 0;
  bool too_large_ = false;
};

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

// Answers one call: holds the limits of its query and turns its outcome into a response.
class Answering {
 public:
  Answering(const ApiCall& call, const AnswerMemory& memory) : call_(call), memory_(memory) {}

  // The limits for the engine. They point into this object, which must outlive the table.
  QueryLimits Limits(int64_t rows_max) {
    return {.rows_max = rows_max,
            .start = call_.start,
            .abandoned = call_.abandoned,
            .reached = &reached_};
  }

  Response Write(Result<ResultTable> table, ResultFormat format) {
    if (!table.ok()) return Explain(table.status());
    AnswerBody body(memory_);
    const Status written = WriteResult(
        table.value(), format, [&](std::string_view bytes) { return body.Append(bytes); },
        {.reserve = [&](int64_t bytes) { return body.Reserve(bytes); }});
    if (body.too_large()) reached_ = QueryLimit::kMemory;
    if (!written.ok()) return Explain(written);
    Response response{.content_type = std::string(ContentType(format))};
    body.MoveInto(response);
    if (table.value().truncated()) response.headers.emplace_back("X-Truncated", "true");
    if (const auto& incomplete = table.value().incomplete(); !incomplete.empty())
      response.headers.emplace_back("X-Incomplete", IncompleteHeader(incomplete));
    return response;
  }

  // docs/PROTOCOL.md explains the use of 504 and 507.
  Response Explain(const Status& status) const {
    if (status.code() == StatusCode::kRetry)
      return TryAgain(503, kRetryAfterSeconds, status.message());
    switch (reached_) {
      case QueryLimit::kTime:
        return Problem(504, status.message());
      case QueryLimit::kMemory:
        return Problem(507, status.message());
      case QueryLimit::kNone:
        break;
    }
    return Problem(400, status.message());
  }

 private:
  const ApiCall& call_;
  const AnswerMemory& memory_;
  QueryLimit reached_ = QueryLimit::kNone;
};

// {"sql": ..., "format": ..., "limit": ...}
Response AnswerQuery(const ApiCall& call, QueryEngine& engine, Answering& answering) {
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
  return answering.Write(engine.Run(*sql, call.scope, answering.Limits(rows_max)), format);
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

// A buffer that grows to 2^n bytes exists together with the old one of half its size. So an answer
// may have at most the largest power of two that is no more than half of the budget.
AnswerMemory ShareOf(MemoryBudget* budget, int64_t budget_bytes_max) {
  const auto fits =
      std::bit_floor(static_cast<uint64_t>(std::max(budget_bytes_max, int64_t{2}) / 2));
  return {.budget = budget, .bytes_max = std::min(kAnswerBytesMax, static_cast<int64_t>(fits))};
}

Response AnswerFromLake(const ApiCall& call, QueryEngine& engine, int64_t now_ms,
                        const AnswerMemory& memory) {
  Answering answering(call, memory);
  if (call.route == Route::kQuery) return AnswerQuery(call, engine, answering);
  auto parsed = ParseReadRequest(call, engine.window_size());
  if (auto* refusal = std::get_if<Response>(&parsed)) return std::move(*refusal);
  const ReadRequest& read = std::get<ReadRequest>(parsed);
  const Result<TimeZone> zone = ZoneFor(read, call.scope, engine);
  if (!zone.ok()) return answering.Explain(zone.status());
  const Window range = read.Range(now_ms, zone.value());
  const QueryLimits limits = answering.Limits(kRowsMax);
  switch (call.route) {
    case Route::kTop: {
      const TopRequest request{.location = read.location,
                               .range = range,
                               .limit = static_cast<int32_t>(read.limit.value_or(10))};
      return answering.Write(engine.Top(call.scope, request, limits), read.format);
    }
    case Route::kItems: {
      const ItemsRequest request{.location = read.location,
                                 .range = range,
                                 .limit = static_cast<int32_t>(read.limit.value_or(kItemsMax))};
      return answering.Write(engine.Items(call.scope, request, limits), read.format);
    }
    case Route::kCounts: {
      const CountsRequest request{
          .location = read.location, .item = read.item, .range = range, .step = read.step};
      return answering.Write(engine.Counts(call.scope, request, limits), read.format);
    }
    case Route::kLocations:
      return answering.Write(engine.Locations(call.scope, range, limits), read.format);
    case Route::kLedger: {
      LedgerRequest request{.location = read.location, .group = read.group};
      if (read.from || read.to) request.hours = range;
      return answering.Write(engine.LedgerTotals(call.scope, request, limits), read.format);
    }
    default:
      CHECK(false);
      return {};
  }
}

}  // namespace sightline
