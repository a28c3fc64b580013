#include "operators/count_windows.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sightline {
namespace {

constexpr Millis kHour{3'600'000};

LedgerKey KeyOf(const Event& event, AppendTime now) {
  const AppendTime hour =
      now == kNoAppendTime ? kNoAppendTime : AppendTime{WindowStart({now.v}, kHour).v};
  if (event.kind == Event::Kind::kMalformed) return {.known = false, .hour = hour};
  return {.known = true, .location = event.location, .camera = event.camera, .hour = hour};
}

}  // namespace

void CountWindows::Add(const Event& event, const Decision& decision, Offset offset, AppendTime now,
                       Watermark watermark) {
  Ledger& ledger = ledger_[KeyOf(event, now)];
  if (!decision.outcome) {
    ++ledger.heartbeats;
    return;
  }
  const Outcome outcome = *decision.outcome;
  ++ledger.received;
  ++ledger.outcomes[static_cast<size_t>(outcome)];
  ledger.conflicts += decision.conflict;
  if (outcome == Outcome::kCounted) {
    Count(event, decision, watermark);
  } else if (outcome == Outcome::kMalformed || outcome == Outcome::kFuture ||
             outcome == Outcome::kTooLate) {
    SetAsideEvent(event, outcome, offset, now);
  }
}

void CountWindows::Count(const Event& event, const Decision& decision, Watermark watermark) {
  const bool correction = watermark >= WindowStart(event.time, window_size_) + window_size_;
  const Cell cell{.pane_start = WindowStart(event.time, pane_size_),
                  .location = event.location,
                  .item = decision.item,
                  .kind = correction ? CountKind::kCorrection : CountKind::kCount};
  const auto [it, is_new] = counts_.try_emplace(cell, Sum{0, event.time, event.time});
  Sum& sum = it->second;
  ++sum.count;
  sum.first = std::min(sum.first, event.time);
  sum.last = std::max(sum.last, event.time);
}

void CountWindows::SetAsideEvent(const Event& event, Outcome outcome, Offset offset,
                                 AppendTime now) {
  SetAside aside{.outcome = outcome,
                 .reason = event.reason,
                 .offset = offset,
                 .index = event.index,
                 .append_time = now,
                 .bytes = std::string(event.bytes.substr(0, kSetAsideBytesMax))};
  set_aside_bytes_ += aside.bytes.size();
  set_aside_.push_back(std::move(aside));
}

Segment CountWindows::Take(Offset first, Offset next, Watermark watermark, const ItemNames& items) {
  Segment segment{.first = first, .next = next, .watermark = watermark};
  // Item names are compared once an item, not once a row.
  std::vector<uint32_t> by_name;
  std::vector<uint32_t> rank(items.size(), UINT32_MAX);
  for (const auto& [cell, sum] : counts_)
    if (std::exchange(rank[cell.item], 0) == UINT32_MAX) by_name.push_back(cell.item);
  std::sort(by_name.begin(), by_name.end(),
            [&](uint32_t a, uint32_t b) { return items.name(a) < items.name(b); });
  for (uint32_t i = 0; i < by_name.size(); ++i) rank[by_name[i]] = i;

  std::vector<std::pair<Cell, Sum>> cells(counts_.begin(), counts_.end());
  std::sort(cells.begin(), cells.end(), [&](const auto& a, const auto& b) {
    auto key = [&](const Cell& c) {
      return std::tuple(c.pane_start, c.location, rank[c.item], c.kind);
    };
    return key(a.first) < key(b.first);
  });
  segment.counts.reserve(cells.size());
  for (const auto& [cell, sum] : cells)
    segment.counts.push_back(
        {.key = {cell.pane_start, cell.location, items.name(cell.item), cell.kind},
         .count = sum.count,
         .first_detected = sum.first,
         .last_detected = sum.last});
  segment.ledger.reserve(ledger_.size());
  for (const auto& [key, ledger] : ledger_) {
    CHECK(ledger.Balanced());
    segment.ledger.push_back({key, ledger});
  }
  std::sort(segment.ledger.begin(), segment.ledger.end(),
            [](const LedgerRow& a, const LedgerRow& b) { return a.key < b.key; });
  segment.set_aside = std::move(set_aside_);
  counts_.clear();
  ledger_.clear();
  set_aside_.clear();
  set_aside_bytes_ = 0;
  return segment;
}

}  // namespace sightline
