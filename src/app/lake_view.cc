#include "app/lake_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "app/lake_files.h"
#include "base/check.h"
#include "connectors/lake/tables.h"
#include "connectors/lake/write_batch.h"

namespace sightline {
namespace {

// The segments from `offset` on, which must be a boundary: a sink commits whole segments.
std::span<const Segment> From(std::span<const Segment> segments, Offset offset) {
  const auto first = std::ranges::find_if(
      segments, [&](const Segment& segment) { return segment.first >= offset; });
  if (first != segments.begin()) CHECK(std::prev(first)->next <= offset);
  return {first, segments.end()};
}

}  // namespace

LakeView::LakeView(std::string root, Millis window_size)
    : root_(std::move(root)), window_size_(window_size) {}

void LakeView::SetCounts(const lake::SnapshotPtr& snapshot) {
  Set(counts_, lake::kIncrementsTable, snapshot);
}
void LakeView::SetLedger(const lake::SnapshotPtr& snapshot) {
  Set(ledger_, lake::kLedgerTable, snapshot);
}

void LakeView::Set(Table& table, std::string_view name, const lake::SnapshotPtr& snapshot) {
  const std::lock_guard lock(mutex_);
  if (table.snapshot != nullptr && snapshot->version <= table.snapshot->version) return;
  table.files = table.snapshot == nullptr
                    ? FileList(fmt::format("{}/{}", root_, name), FilesOf(*snapshot))
                    : Advance(table.files, *table.snapshot, *snapshot);
  table.snapshot = snapshot;
  DropCommitted();
  state_.reset();
}

void LakeView::SetLocations(std::vector<LocationEntry> locations) {
  const std::lock_guard lock(mutex_);
  locations_ = std::make_shared<const std::vector<LocationEntry>>(std::move(locations));
  state_.reset();
}

void LakeView::Expect(const SourcePartition& partition, Offset offset) {
  const std::lock_guard lock(mutex_);
  expected_[partition] = offset;
}

Offset LakeView::OffsetIn(const Table& table, std::string_view name,
                          const SourcePartition& partition) {
  if (table.snapshot == nullptr) return kNoneCommitted;
  const auto offset = table.snapshot->Txn(lake::OffsetTxn(name, partition));
  return offset ? Offset{*offset} : kNoneCommitted;
}

Offset LakeView::Committed(const SourcePartition& partition) const {
  const std::lock_guard lock(mutex_);
  const auto known = pending_.find(partition);
  if (known != pending_.end()) return known->second.next;
  // What one of the tables lacks must come once more.
  return std::min(OffsetIn(counts_, lake::kIncrementsTable, partition),
                  OffsetIn(ledger_, lake::kLedgerTable, partition));
}

bool LakeView::Apply(const SourcePartition& partition, std::span<const Segment> segments) {
  const std::lock_guard lock(mutex_);
  const auto [it, is_new] = pending_.try_emplace(partition);
  Pending& pending = it->second;
  for (const Segment& segment : segments) {
    if (pending.next != kNoneCommitted && segment.first != pending.next) return false;
    pending.segments.push_back(segment);
    pending.next = segment.next;
  }
  DropCommitted();
  state_.reset();
  return true;
}

void LakeView::DropCommitted() {
  for (auto& [partition, pending] : pending_) {
    const Offset both = std::min(OffsetIn(counts_, lake::kIncrementsTable, partition),
                                 OffsetIn(ledger_, lake::kLedgerTable, partition));
    const auto kept = std::ranges::find_if(
        pending.segments, [&](const Segment& segment) { return segment.next > both; });
    pending.segments.erase(pending.segments.begin(), kept);
  }
}

Result<std::shared_ptr<const LakeState>> LakeView::Current() {
  const std::lock_guard lock(mutex_);
  for (auto it = expected_.begin(); it != expected_.end(); it = expected_.erase(it)) {
    const auto pending = pending_.find(it->first);
    const Offset reached = pending == pending_.end() ? kNoneCommitted : pending->second.next;
    if (std::max(reached, OffsetIn(counts_, lake::kIncrementsTable, it->first)) < it->second)
      return Status::Retry(
          fmt::format("partition {} is still being counted up to where it was before the restart: "
                      "ask again in a second",
                      it->first.partition));
  }
  if (state_ == nullptr) state_ = Build();
  return state_;
}

int64_t LakeView::pending_rows() const {
  const std::lock_guard lock(mutex_);
  int64_t rows = 0;
  for (const auto& [partition, pending] : pending_)
    for (const Segment& segment : pending.segments) rows += static_cast<int64_t>(segment.rows());
  return rows;
}

std::shared_ptr<const LakeState> LakeView::Build() const {
  auto state = std::make_shared<LakeState>();
  if (counts_.snapshot != nullptr) state->counts_version = counts_.snapshot->version.v;
  if (ledger_.snapshot != nullptr) state->ledger_version = ledger_.snapshot->version.v;
  state->counts_files = counts_.files;
  state->ledger_files = ledger_.files;
  state->locations = locations_;
  auto counts = std::make_shared<std::vector<CountIncrement>>();
  auto ledger = std::make_shared<std::vector<LedgerIncrement>>();
  for (const auto& [partition, pending] : pending_) {
    const auto uncounted =
        From(pending.segments, OffsetIn(counts_, lake::kIncrementsTable, partition));
    if (!uncounted.empty()) {
      lake::WriteBatch batch = lake::ToIncrements(partition, uncounted, window_size_);
      for (CountRow& row : batch.windows)
        counts->push_back({.location = row.key.location,
                           .item = std::move(row.key.item),
                           .window = {row.key.pane_start, row.key.pane_start + window_size_},
                           .count = row.count,
                           .first_detected = row.first_detected,
                           .last_detected = row.last_detected,
                           .kind = row.key.kind,
                           .source = partition,
                           .first = batch.first,
                           .next = batch.next});
    }
    const auto unledgered =
        From(pending.segments, OffsetIn(ledger_, lake::kLedgerTable, partition));
    if (!unledgered.empty()) {
      lake::WriteBatch batch = lake::ToLedger(partition, unledgered);
      for (const LedgerRow& row : batch.ledger)
        ledger->push_back(
            {.source = partition, .first = batch.first, .next = batch.next, .row = row});
    }
  }
  state->pending_counts = std::move(counts);
  state->pending_ledger = std::move(ledger);
  return state;
}

Result<Offset> PendingSink::Commit(const SourcePartition& partition,
                                   std::span<const Segment> segments) {
  if (!view_->Apply(partition, segments))
    return Status::Rebuild("the pending counts are of other offsets than this task offers");
  return segments.back().next;
}

}  // namespace sightline
