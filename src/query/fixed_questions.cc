// The fixed questions of QueryEngine. Each is one SQL statement over the views.
#include <fmt/format.h>

#include <algorithm>

#include "model/window_choice.h"
#include "query/session.h"
#include "sql/calendar.h"

namespace sightline {
namespace {

std::string Time(EventTime time) {
  return fmt::format("make_timestamptz({}::BIGINT)", time.v * 1000);
}

bool IsRange(const Window& range) {
  return range.start <= range.end && range.start >= kFirstEventTime && range.end <= kLastEventTime;
}
Status NoRange() {
  return Status::Stop("the range must begin before it ends, within the years 1 to 9999");
}

ReadBounds ReadBoundsOf(const std::optional<LocationId>& location, const Window& range) {
  ReadBounds bounds;
  if (location) bounds.locations = std::set{*location};
  bounds.first_day = DayOf(range.start);
  bounds.end_day = {DayOf({range.end.v - 1}).v + 1};
  return bounds;
}

// The range implies the conditions on `date`, but these let DuckDB skip files by their paths.
std::string Where(const std::optional<LocationId>& location, const Window& range) {
  std::string where = fmt::format(
      "window_start >= {} AND window_start < {} AND date >= DATE '{}' AND date <= DATE '{}'",
      Time(range.start), Time(range.end), FormatDay(DayOf(range.start)),
      FormatDay(DayOf({range.end.v - 1})));
  if (location) where += fmt::format(" AND geographical_location_oid = {}", location->v);
  return where;
}

// The statement asks for one more row than the answer has, so that truncated() is right.
QueryLimits AtMost(int32_t rows, QueryLimits limits) {
  limits.rows_max = std::clamp<int64_t>(rows, 0, limits.rows_max);
  return limits;
}

}  // namespace

// Begins a session with the view that all questions use except those about the ledger, and others.
Result<std::unique_ptr<QueryEngine::Session>> QueryEngine::Begin(
    const Scope& scope, const std::optional<LocationId>& location, const Window& range,
    const QueryLimits& limits, ViewBounds others) const {
  if (!IsRange(range)) return NoRange();
  auto begun = Session::Begin(core_, scope, limits);
  if (!begun.ok()) return begun.status();
  others.emplace(kIncrements, ReadBoundsOf(location, range));
  RETURN_IF_ERROR(begun.value()->AddViews(others));
  return begun;
}

Result<ResultTable> QueryEngine::Top(const Scope& scope, const TopRequest& request,
                                     const QueryLimits& limits) {
  auto begun = Begin(scope, request.location, request.range, AtMost(request.limit, limits));
  if (!begun.ok()) return begun.status();
  // DuckDB compares VARCHAR by bytes, which is the order of equal counts in docs/SEMANTICS.md.
  return Session::Answer(
      std::move(begun).value(),
      fmt::format("SELECT row_number() OVER (ORDER BY item_count DESC, item_name) AS position, "
                  "rank() OVER (ORDER BY item_count DESC) AS rank, item_name, item_count FROM "
                  "(SELECT item_name, sum(item_count)::BIGINT AS item_count FROM {} WHERE {} "
                  "GROUP BY item_name HAVING sum(item_count) <> 0) ORDER BY position LIMIT {}",
                  kIncrements, Where(request.location, request.range),
                  std::max(request.limit, 0) + int64_t{1}));
}

Result<ResultTable> QueryEngine::Counts(const Scope& scope, const CountsRequest& request,
                                        const QueryLimits& limits) {
  if (!IsRange(request.range)) return NoRange();
  const Millis window = core_->window_size;
  if (request.step.v <= 0 || request.step.v % window.v != 0) {
    return Status::Stop(
        fmt::format("counts are stored in windows of {} ms: use a step that is a multiple of that; "
                    "the smallest is {}",
                    window.v, WindowChoice{.length = window}.ToString()));
  }
  // The first step is whole, too: without the windows before `start` its sum would be too small.
  const Window range{WindowStart(request.range.start, request.step), request.range.end};
  if ((range.end - range.start).v / request.step.v >= kStepsMax) {
    return Status::Stop(fmt::format(
        "the range has more than {} steps: use a longer step or a shorter range", kStepsMax));
  }
  auto begun = Begin(scope, request.location, range, limits);
  if (!begun.ok()) return begun.status();
  const int64_t step = request.step.v;
  const int64_t first = range.start.v;
  std::string where = Where(request.location, range);
  if (request.item) where += " AND item_name = " + duck::Quoted(*request.item);
  // range() makes a row for each step. The join keeps steps without counts, as 0.
  return Session::Answer(
      std::move(begun).value(),
      fmt::format("SELECT make_timestamptz(s.ms * 1000) AS step_start, "
                  "coalesce(c.item_count, 0) AS item_count FROM range({}, {}, {}) s(ms) LEFT JOIN "
                  "(SELECT (epoch_ms(window_start) - {}) // {} AS step, "
                  "sum(item_count)::BIGINT AS item_count FROM {} WHERE {} GROUP BY step) c "
                  "ON c.step = (s.ms - {}) // {} ORDER BY s.ms",
                  first, request.range.end.v, step, first, step, kIncrements, where, first, step));
}

Result<ResultTable> QueryEngine::Items(const Scope& scope, const ItemsRequest& request,
                                       const QueryLimits& limits) {
  auto begun = Begin(scope, request.location, request.range, AtMost(request.limit, limits));
  if (!begun.ok()) return begun.status();
  return Session::Answer(
      std::move(begun).value(),
      fmt::format("SELECT item_name, sum(item_count)::BIGINT AS item_count, "
                  "min(first_detected) AS first_detected, max(last_detected) AS last_detected "
                  "FROM {} WHERE {} GROUP BY item_name HAVING sum(item_count) <> 0 "
                  "ORDER BY item_name LIMIT {}",
                  kIncrements, Where(request.location, request.range),
                  std::max(request.limit, 0) + int64_t{1}));
}

Result<ResultTable> QueryEngine::LedgerTotals(const Scope& scope, const LedgerRequest& request,
                                              const QueryLimits& limits) {
  if (request.hours && !IsRange(*request.hours)) return NoRange();
  auto begun = Session::Begin(core_, scope, limits);
  if (!begun.ok()) return begun.status();
  std::unique_ptr<Session> session = std::move(begun).value();
  ReadBounds bounds;
  std::string where = "true";
  if (request.location) {
    bounds.locations = std::set{*request.location};
    where += fmt::format(" AND geographical_location_oid = {}", request.location->v);
  }
  if (request.hours) {
    bounds.first_append = request.hours->start;
    bounds.end_append = request.hours->end;
    where += fmt::format(" AND append_hour >= {} AND append_hour < {}", Time(request.hours->start),
                         Time(request.hours->end));
  }
  RETURN_IF_ERROR(session->AddViews({{std::string(kLedger), bounds}}));
  const char* group = "";
  switch (request.group) {
    case LedgerGroup::kNone:
      break;
    case LedgerGroup::kLocation:
      group = "geographical_location_oid";
      break;
    case LedgerGroup::kCamera:
      group = "video_camera_oid";
      break;
    case LedgerGroup::kHour:
      group = "append_hour";
      break;
    case LedgerGroup::kSource:
      group = "source";
      break;
  }
  std::string sums;
  for (const char* column : {"received", "counted", "duplicate", "too_late", "future", "malformed",
                             "outside", "conflicts", "heartbeats", "lost"}) {
    sums += fmt::format("{}coalesce(sum({}), 0)::BIGINT AS {}", sums.empty() ? "" : ", ", column,
                        column);
  }
  const bool grouped = *group != '\0';
  return Session::Answer(
      std::move(session),
      fmt::format("SELECT {}{}{} FROM {} WHERE {}{}", group, grouped ? ", " : "", sums, kLedger,
                  where,
                  grouped ? fmt::format(" GROUP BY {0} HAVING sum(received) + sum(heartbeats) + "
                                        "coalesce(sum(lost), 0) > 0 ORDER BY {0} NULLS LAST",
                                        group)
                          : std::string()));
}

Result<ResultTable> QueryEngine::Locations(const Scope& scope, const Window& range,
                                           const QueryLimits& limits) {
  auto begun = Begin(scope, {}, range, limits, {{std::string(kLocations), ReadBounds()}});
  if (!begun.ok()) return begun.status();
  return Session::Answer(
      std::move(begun).value(),
      fmt::format("SELECT geographical_location_oid, l.geographical_location, "
                  "coalesce(c.item_count, 0) AS item_count, c.first_detected, c.last_detected FROM "
                  "(SELECT geographical_location_oid, sum(item_count)::BIGINT AS item_count, "
                  "min(first_detected) AS first_detected, max(last_detected) AS last_detected "
                  "FROM {} WHERE {} GROUP BY geographical_location_oid) c "
                  "FULL JOIN {} l USING (geographical_location_oid) "
                  "ORDER BY l.geographical_location NULLS LAST, geographical_location_oid",
                  kIncrements, Where({}, range), kLocations));
}

}  // namespace sightline
