#include "live/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string_view.hpp>
#include <charconv>
#include <iterator>

namespace sightline {
namespace {

// Item and location names come from outside, so a library escapes them. The rest is numbers and
// fixed names, which are safe to format as they are.
std::string Quoted(std::string_view text) {
  return boost::json::serialize(boost::json::string_view(text.data(), text.size()));
}

// A JavaScript number cannot hold kBeforeAllTime. 0 means the same, as no pane ends at or before
// it.
int64_t Shown(Watermark complete_until) { return std::max<int64_t>(complete_until.v, 0); }

template <typename Element, typename Append>
std::string Array(std::span<const Element> elements, Append append) {
  std::string out = "[";
  for (const Element& element : elements) {
    if (out.size() > 1) out += ',';
    append(out, element);
  }
  out += ']';
  return out;
}

std::string ServerSentEvent(std::string_view kind, const StreamState& state,
                            std::string_view data) {
  return fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", state.boot, state.seq, kind, data);
}

std::string FullEvent(std::string_view kind, const StreamState& state) {
  return ServerSentEvent(
      kind, state,
      fmt::format(R"({{"boot":{},"seq":{},"now":{},"changed_at":{},"pane":{},"view":{},)"
                  R"("locations":{},"top":{},"moves":{},"ledger":{}}})",
                  Quoted(state.boot), state.seq, state.now_ms, state.changed_at_ms,
                  state.pane_size.v, state.view, state.locations, state.top, state.moves,
                  state.ledger));
}

}  // namespace

std::string ToJson(const Top& top) {
  const std::string rows = Array(std::span(top.rows), [](std::string& out, const TopRow& row) {
    fmt::format_to(std::back_inserter(out),
                   R"({{"position":{},"rank":{},"item":{},"count":{},"provisional":{}}})",
                   row.position, row.rank, Quoted(row.item), row.count, row.provisional);
  });
  return fmt::format(
      R"({{"start":{},"end":{},"complete_until":{},"total":{},"other":{},"items":{},"rows":{}}})",
      top.window.start.v, top.window.end.v, Shown(top.complete_until), top.total, top.other,
      top.items, rows);
}

std::string ToJson(std::span<const LocationTotal> locations) {
  return Array(locations, [](std::string& out, const LocationTotal& location) {
    fmt::format_to(std::back_inserter(out), R"({{"oid":"{}","name":{},"total":{},"top":{}}})",
                   location.location.v, Quoted(location.name), location.total,
                   Quoted(location.top_item));
  });
}

std::string ToJson(std::span<const Move> moves) {
  return Array(moves, [](std::string& out, const Move& move) {
    const auto end = std::back_inserter(out);
    switch (move.kind) {
      case Move::Kind::kEntered:
        fmt::format_to(end, R"({{"item":{},"move":"entered","to":{}}})", Quoted(move.item),
                       move.to);
        return;
      case Move::Kind::kLeft:
        fmt::format_to(end, R"({{"item":{},"move":"left","from":{}}})", Quoted(move.item),
                       move.from);
        return;
      case Move::Kind::kMoved:
        fmt::format_to(end, R"({{"item":{},"move":"moved","from":{},"to":{}}})", Quoted(move.item),
                       move.from, move.to);
        return;
    }
  });
}

std::string ToJson(const Ledger& ledger) {
  return fmt::format(
      R"({{"received":{},"counted":{},"duplicate":{},"too_late":{},"future":{},"malformed":{},)"
      R"("outside":{},"conflicts":{},"heartbeats":{},"lost":{}}})",
      ledger.received, ledger.of(Outcome::kCounted), ledger.of(Outcome::kDuplicate),
      ledger.of(Outcome::kTooLate), ledger.of(Outcome::kFuture), ledger.of(Outcome::kMalformed),
      ledger.of(Outcome::kOutside), ledger.conflicts, ledger.heartbeats, ledger.lost);
}

std::string ViewJson(std::optional<LocationId> location, const WindowChoice& window,
                     int32_t limit) {
  const std::string oid = location ? fmt::format("{}", location->v) : "all";
  return fmt::format(R"({{"location":"{}","window":"{}","limit":{}}})", oid, window.ToString(),
                     limit);
}

std::string SnapshotEvent(const StreamState& state) { return FullEvent("snapshot", state); }
std::string ChangeEvent(const StreamState& state) { return FullEvent("change", state); }

std::string HeartbeatEvent(const StreamState& state) {
  return ServerSentEvent(
      "heartbeat", state,
      fmt::format(R"({{"boot":{},"seq":{},"now":{},"complete_until":{},"ledger":{},)"
                  R"("top":{}{}}})",
                  Quoted(state.boot), state.seq, state.now_ms, Shown(state.complete_until),
                  state.ledger, state.top,
                  state.alerts_version
                      ? fmt::format(R"(,"alerts_version":{})", *state.alerts_version)
                      : ""));
}

std::optional<int64_t> SeqOfId(std::string_view id, std::string_view boot) {
  if (id.size() > boot.size() + 20 || !id.starts_with(boot)) return std::nullopt;
  id.remove_prefix(boot.size());
  if (id.size() < 2 || id[0] != '-' || id[1] < '0' || id[1] > '9') return std::nullopt;
  int64_t seq = 0;
  const auto [end, error] = std::from_chars(id.data() + 1, id.data() + id.size(), seq);
  if (error != std::errc{} || end != id.data() + id.size()) return std::nullopt;
  return seq;
}

}  // namespace sightline
