#include "history/lake_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/check.h"
#include "connectors/lake/tables.h"
#include "engine/runtime.h"
#include "engine/sealed_list.h"
#include "history/lake_files.h"
#include "history/pinned_runs.h"
#include "history/run_part.h"

namespace sightline {

LakeView::LakeView(std::string root, Millis window_size, PinnedRuns* runs, EngineReports engine,
                   FileKeeper* copies)
    : root_(std::move(root)),
      window_size_(window_size),
      runs_(runs),
      engine_(std::move(engine)),
      copies_(copies),
      counts_{.name = lake::kIncrementsTable, .snapshot = nullptr, .files = {}},
      ledger_{.name = lake::kLedgerTable, .snapshot = nullptr, .files = {}} {}

void LakeView::SetUnread(std::string why) {
  const std::lock_guard lock(mutex_);
  unread_ = std::move(why);
}

void LakeView::SetCounts(const lake::SnapshotPtr& snapshot) { Set(counts_, snapshot); }
void LakeView::SetLedger(const lake::SnapshotPtr& snapshot) { Set(ledger_, snapshot); }

void LakeView::Set(Table& table, const lake::SnapshotPtr& snapshot) {
  const std::lock_guard lock(mutex_);
  // The writers of several partitions report, so an older version may come after a newer one.
  if (table.snapshot != nullptr && snapshot->version <= table.snapshot->version) return;
  table.files = table.snapshot == nullptr
                    ? FileList(fmt::format("{}/{}", root_, table.name), FilesOf(*snapshot))
                    : Advance(table.files, *table.snapshot, *snapshot);
  table.snapshot = snapshot;
  // Under the same lock as the new version: no reader sees a segment in both places, or in neither.
  for (auto& [partition, known] : partitions_) {
    FindOffsets(known);
    DropCommitted(known);
  }
  state_.reset();
}

void LakeView::SetLocations(std::vector<Location> locations) {
  const std::lock_guard lock(mutex_);
  locations_ = std::make_shared<const std::vector<Location>>(std::move(locations));
  state_.reset();
}

void LakeView::Expect(const SourcePartition& partition, Offset offset) {
  const std::lock_guard lock(mutex_);
  expected_[partition] = offset;
}

LakeView::Partition& LakeView::Of(const SourcePartition& partition) {
  const auto [it, is_new] = partitions_.try_emplace(partition);
  Partition& known = it->second;
  if (is_new) {
    known.counts_txn = lake::OffsetTxn(counts_.name, partition);
    known.ledger_txn = lake::OffsetTxn(ledger_.name, partition);
    FindOffsets(known);
  }
  return known;
}

void LakeView::FindOffsets(Partition& partition) const {
  const auto find = [](const Table& table, const std::string& txn) {
    if (table.snapshot == nullptr) return kNoneCommitted;
    const auto offset = table.snapshot->Txn(txn);
    return offset ? Offset{*offset} : kNoneCommitted;
  };
  partition.in_counts = find(counts_, partition.counts_txn);
  partition.in_ledger = find(ledger_, partition.ledger_txn);
}

Offset LakeView::Committed(const SourcePartition& partition) {
  const std::lock_guard lock(mutex_);
  const Partition& known = Of(partition);
  return known.pending ? known.pending->next : known.committed();
}

bool LakeView::Apply(const SourcePartition& partition, std::span<const Segment> segments) {
  const std::lock_guard lock(mutex_);
  Partition& known = Of(partition);
  if (!known.pending) known.pending.emplace(Pending{});
  Pending& pending = *known.pending;
  for (const Segment& segment : segments) {
    if (pending.next != kNoneCommitted && segment.first != pending.next) return false;
    pending.segments.push_back(segment);
    pending.next = segment.next;
  }
  DropCommitted(known);
  state_.reset();
  return true;
}

void LakeView::Begin(const SourcePartition& partition, const SealedList& list) {
  const std::lock_guard lock(mutex_);
  Partition& known = Of(partition);
  // Queries have seen these rows. They must not see fewer now, so they wait until the new task is
  // as far again.
  if (known.pending && known.pending->next != kNoneCommitted) {
    const auto [expected, is_new] = expected_.try_emplace(partition, known.pending->next);
    if (!is_new) expected->second = std::max(expected->second, known.pending->next);
  }
  known.pending.reset();
  state_.reset();
  const Offset both = known.committed();
  // Runs can only be shown if they continue what the tables have.
  if (list.runs().empty() || (both != kNoneCommitted && both < list.first())) return;
  Pending pending;
  for (const SpilledRun& run : list.runs()) {
    if (run.next() <= both) continue;
    if (!TakeRun(partition, run, pending)) break;
    pending.next = run.next();
  }
  // Runs that could not be taken come as segments, through Apply().
  if (!pending.runs.empty()) known.pending = std::move(pending);
}

void LakeView::Follow(const SourcePartition& partition, const SealedList& list) {
  const std::lock_guard lock(mutex_);
  Partition& known = Of(partition);
  if (!known.pending || list.empty()) return;
  Pending& pending = *known.pending;
  for (const SpilledRun& run : list.runs()) {
    if (pending.segments.empty() || run.next() <= pending.segments.front().first) continue;
    // A run may hold more than has been applied here. Its first part would then be shown twice once
    // the remaining segments come.
    const bool has_all = run.next() <= pending.next;
    if (!has_all || !TakeRun(partition, run, pending)) break;
    state_.reset();
  }
  // Merge neighbours where the list no longer has a boundary between them. The lake commits whole
  // segments of the list, so SegmentsFrom() finds a boundary here at every offset that can be
  // committed.
  std::vector<Segment> merged;
  for (Segment& segment : pending.segments) {
    if (merged.empty() || list.IsBoundary(segment.first)) {
      merged.push_back(std::move(segment));
    } else {
      merged.back().Merge(std::move(segment));
    }
  }
  pending.segments = std::move(merged);
}

// Replaces segments by the run that holds them. False: the run cannot be pinned, and the segments
// stay in memory.
bool LakeView::TakeRun(const SourcePartition& partition, const SpilledRun& run, Pending& pending) {
  if (runs_ == nullptr) return false;
  Result<std::shared_ptr<const PinnedRun>> pinned = runs_->Pin(partition, run);
  if (!pinned.ok()) return false;
  pending.runs.push_back(std::move(pinned).value());
  const auto kept = std::ranges::find_if(
      pending.segments, [&](const Segment& segment) { return segment.next > run.next(); });
  pending.segments.erase(pending.segments.begin(), kept);
  return true;
}

void LakeView::DropCommitted(Partition& partition) {
  if (!partition.pending) return;
  Pending& pending = *partition.pending;
  const Offset both = partition.committed();
  std::erase_if(pending.runs, [&](const auto& pin) { return pin->run().next() <= both; });
  const auto kept = std::ranges::find_if(
      pending.segments, [&](const Segment& segment) { return segment.next > both; });
  pending.segments.erase(pending.segments.begin(), kept);
}

Result<std::shared_ptr<const LakeState>> LakeView::Current() {
  // Before the lock: the engine's threads call this view.
  const std::vector<PartitionHealth> partitions =
      engine_.partitions ? engine_.partitions() : std::vector<PartitionHealth>();
  const std::lock_guard lock(mutex_);
  if (!unread_.empty())
    return Status::Retry(fmt::format("the lake has not been read yet: {}", unread_));
  RETURN_IF_ERROR(WaitForExpected(partitions));
  if (state_ == nullptr) state_ = Build();
  std::vector<IncompletePartition> incomplete = FindIncomplete(partitions);
  if (state_->incomplete != incomplete) {
    auto state = std::make_shared<LakeState>(*state_);
    state->incomplete = std::move(incomplete);
    state_ = std::move(state);
  }
  return state_;
}

Status LakeView::WaitForExpected(const std::vector<PartitionHealth>& partitions) {
  for (auto it = expected_.begin(); it != expected_.end();) {
    const auto& [partition, offset] = *it;
    // What a partition has reached once, it does not lose again.
    if (Of(partition).reached() >= offset) {
      it = expected_.erase(it);
      continue;
    }
    const auto health = std::ranges::find(partitions, partition, &PartitionHealth::partition);
    const bool comes = !engine_.partitions ||
                       (health != partitions.end() && health->health != TaskHealth::kStopped);
    if (comes)
      return Status::Retry(fmt::format(
          "partition {} has not yet been counted up to where it was before the restart: "
          "ask again in a second",
          partition.partition));
    ++it;
  }
  return Status::Ok();
}

// Call it after WaitForExpected(): what is expected then will not come.
std::vector<IncompletePartition> LakeView::FindIncomplete(
    const std::vector<PartitionHealth>& partitions) {
  std::vector<IncompletePartition> incomplete;
  const auto add = [&](const SourcePartition& partition, Offset end, const std::string& reason) {
    const Offset first = std::max(Of(partition).reached(), Offset{0});
    if (first < end) incomplete.push_back({partition, first, end, reason});
  };
  std::map<SourcePartition, Offset> gone = expected_;
  for (const PartitionHealth& health : partitions) {
    if (health.health != TaskHealth::kStopped) continue;
    Offset end = engine_.end_of ? engine_.end_of(health.partition).next : Offset{0};
    if (const auto expected = gone.find(health.partition); expected != gone.end()) {
      end = std::max(end, expected->second);
      gone.erase(expected);
    }
    add(health.partition, end, health.reason);
  }
  for (const auto& [partition, offset] : gone) add(partition, offset, "it is no longer read");
  return incomplete;
}

int64_t LakeView::pending_rows() const {
  const std::lock_guard lock(mutex_);
  int64_t rows = 0;
  for (const auto& [partition, known] : partitions_) {
    if (!known.pending) continue;
    for (const auto& pin : known.pending->runs) rows += pin->run().rows;
    for (const Segment& segment : known.pending->segments)
      rows += static_cast<int64_t>(segment.rows());
  }
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
  for (const auto& [partition, known] : partitions_) {
    if (!known.pending) continue;
    // Each table is given what it lacks itself: between the two commits they differ.
    for (const auto& pin : known.pending->runs)
      state->pending_parts.push_back(
          PartOf(pin, {.counts = known.in_counts, .ledger = known.in_ledger}, window_size_));
    const std::vector<Segment>& segments = known.pending->segments;
    AddCounts(partition, SegmentsFrom(segments, known.in_counts), window_size_, *counts);
    AddLedger(partition, SegmentsFrom(segments, known.in_ledger), *ledger);
  }
  state->pending_counts = std::move(counts);
  state->pending_ledger = std::move(ledger);
  return state;
}

Result<Offset> PendingSink::Commit(const SourcePartition& partition,
                                   std::span<const Segment> segments) {
  if (!view_->Apply(partition, segments))
    return Status::Rebuild("the segments do not continue the pending counts of this partition");
  return segments.back().next;
}

void PendingSink::Follow(const SourcePartition& partition, const SealedList& list) {
  std::exchange(begun_, true) ? view_->Follow(partition, list) : view_->Begin(partition, list);
}

}  // namespace sightline
