#include "operators/count_windows.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sightline {
namespace {

constexpr Millis kLedgerHour{3'600'000};

LedgerKey KeyOf(const Event& event, AppendTime now) {
  const AppendTime hour =
      now == kNoAppendTime ? kNoAppendTime : AppendTime{WindowStart({now.v}, kLedgerHour).v};
  if (event.kind == Event::Kind::kMalformed) return {.known = false, .hour = hour};
  return {.known = true, .location = event.location, .camera = event.camera, .hour = hour};
}

}  // namespace

Ledger& CountWindows::LedgerOf(const Event& event, const Decision& decision, AppendTime now) {
  const LedgerKey key = KeyOf(event, now);
  uint32_t* last = nullptr;
  // Consecutive elements of one camera nearly always share location and hour, so that its last row
  // saves the hash look-up. Malformed elements have no camera and take the index.
  if (key.known) {
    if (decision.camera >= last_row_of_camera_.size())
      last_row_of_camera_.resize(decision.camera + 1, kNone);
    last = &last_row_of_camera_[decision.camera];
    if (*last != kNone && ledger_[*last].key == key) return ledger_[*last].ledger;
  }
  const auto [it, is_new] = ledger_index_.try_emplace(key, static_cast<uint32_t>(ledger_.size()));
  if (is_new) ledger_.push_back({.key = key});
  if (last != nullptr) {
    *last = it->second;
    cameras_.push_back(decision.camera);
  }
  return ledger_[it->second].ledger;
}

void CountWindows::Add(const Event& event, const Decision& decision, Offset offset, AppendTime now,
                       Watermark watermark) {
  Ledger& ledger = LedgerOf(event, decision, now);
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
    KeepDeadLetter(event, outcome, offset, now);
  }
}

void CountWindows::Count(const Event& event, const Decision& decision, Watermark watermark) {
  if (decision.fact >= last_sum_of_fact_.size()) last_sum_of_fact_.resize(decision.fact + 1);
  LastSum& last = last_sum_of_fact_[decision.fact];
  const bool same_pane = event.time >= last.pane.start && event.time < last.pane.end;
  const CountKind kind = watermark >= last.window_end ? CountKind::kCorrection : CountKind::kCount;
  // The kind is part of the check: between two events of one pane, the partition's watermark may
  // have passed the end of their window.
  if (!same_pane || last.kind != kind) {
    last = FindSum(event, decision, watermark);
    facts_.push_back(decision.fact);
  }
  Sum& sum = counts_[last.index];
  ++sum.count;
  sum.first = std::min(sum.first, event.time);
  sum.last = std::max(sum.last, event.time);
}

CountWindows::LastSum CountWindows::FindSum(const Event& event, const Decision& decision,
                                            Watermark watermark) {
  const EventTime pane_start = WindowStart(event.time, pane_size_);
  const EventTime window_end = WindowStart(event.time, window_size_) + window_size_;
  const CountKind kind = watermark >= window_end ? CountKind::kCorrection : CountKind::kCount;
  const Cell cell{pane_start, event.location, decision.item, kind};
  const auto [it, is_new] = count_index_.try_emplace(cell, static_cast<uint32_t>(counts_.size()));
  if (is_new) counts_.push_back({cell, 0, event.time, event.time});
  return {{pane_start, pane_start + pane_size_}, window_end, kind, it->second};
}

void CountWindows::KeepDeadLetter(const Event& event, Outcome outcome, Offset offset,
                                  AppendTime now) {
  DeadLetter letter{.outcome = outcome,
                    .reason = event.reason,
                    .offset = offset,
                    .index = event.index,
                    .append_time = now,
                    .bytes = std::string(event.bytes.substr(0, kDeadLetterBytesMax))};
  dead_letter_bytes_ += letter.bytes.size();
  dead_letters_.push_back(std::move(letter));
}

Segment CountWindows::Take(Offset first, Offset next, Watermark watermark,
                           const ItemNumbers& items) {
  Segment segment{.first = first, .next = next, .watermark = watermark};
  // Sort by item rank: the names are compared once per item, not once per row.
  std::vector<uint32_t> by_name;
  std::vector<uint32_t> rank(items.size(), kNone);
  for (const Sum& sum : counts_)
    if (std::exchange(rank[sum.cell.item], 0) == kNone) by_name.push_back(sum.cell.item);
  std::sort(by_name.begin(), by_name.end(),
            [&](uint32_t a, uint32_t b) { return items.name(a) < items.name(b); });
  for (uint32_t i = 0; i < by_name.size(); ++i) rank[by_name[i]] = i;

  auto key = [&](const Cell& c) {
    return std::tuple(c.pane_start, c.location, rank[c.item], c.kind);
  };
  std::sort(counts_.begin(), counts_.end(),
            [&](const Sum& a, const Sum& b) { return key(a.cell) < key(b.cell); });
  segment.counts.reserve(counts_.size());
  for (const auto& [cell, count, first_time, last_time] : counts_)
    segment.counts.push_back(
        {.key = {cell.pane_start, cell.location, items.name(cell.item), cell.kind},
         .count = count,
         .first_detected = first_time,
         .last_detected = last_time});
  std::sort(ledger_.begin(), ledger_.end(),
            [](const LedgerRow& a, const LedgerRow& b) { return a.key < b.key; });
  // Every event has exactly one outcome; the ledger balances at every commit.
  for (const LedgerRow& row : ledger_) CHECK(row.ledger.Balanced());
  segment.ledger = std::move(ledger_);
  segment.dead_letters = std::move(dead_letters_);
  Clear();
  return segment;
}

// Resets only the entries that were written. A segment often holds a single event, and a site may
// have a million facts.
void CountWindows::Clear() {
  for (const uint32_t fact : facts_) last_sum_of_fact_[fact] = {};
  for (const uint32_t camera : cameras_) last_row_of_camera_[camera] = kNone;
  facts_.clear();
  cameras_.clear();
  counts_.clear();
  count_index_.clear();
  ledger_.clear();
  ledger_index_.clear();
  dead_letters_.clear();
  dead_letter_bytes_ = 0;
}

}  // namespace sightline
