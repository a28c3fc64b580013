#include "connectors/kafka/seal_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sightline::kafka {

void SealMap::Resume(const StepPosition& position) {
  next_ = position.next;
  for (const auto& [from, progress] : position.done) {
    fold_.Resume(from, progress);
    Source& source = sources_[from];
    source.done = source.seen = progress;
    source.begins_at = position.next;
  }
}

Status SealMap::Take(Offset at, std::string_view value, StepClock::time_point now) {
  next_ = {at.v + 1};
  Result<CountsRecord> parsed = ParseCountsRecord(value);
  if (!parsed.ok()) {
    ++refused_;
    return Status::Ok();
  }
  CountsRecord& record = parsed.value();
  Source& source = sources_[record.from];
  source.spec_id = record.spec_id;
  if (record.progress && !source.open && record.progress->next == source.done.next) {
    // The writer repeated its progress record, so that retention leaves one. Repeat ours, too.
    messages_.push_back(ProgressMessage(record.from, source));
    return Status::Ok();
  }
  source.heard = now;
  if (record.total) {
    source.pane_size = record.pane_size;
    if (record.location) names_[record.total->key.location] = *record.location;
  }
  if (!record.progress && record.first > source.group) {
    // A new group begins, so the group before it has ended. If the progress reaches the start of
    // the new one, the old group is whole and can be sealed.
    if (source.open && source.seen.next == record.first) RETURN_IF_ERROR(Seal(record.from, source));
    source.group = record.first;
    source.begins_at = at;
    source.begun = now;
  }
  const SourcePartition from = record.from;
  const std::optional<Progress> progress = record.progress;
  std::optional<CountsFold::Commit> commit = fold_.Take(std::move(record));
  if (!commit) return Status::Ok();
  source.seen = *progress;
  rows_ += static_cast<int64_t>(commit->segment.rows());
  if (source.open) {
    source.open->Merge(std::move(commit->segment));
  } else {
    source.open = std::move(commit->segment);
  }
  return Status::Ok();
}

Status SealMap::Seal(const SourcePartition& from, Source& source) {
  Segment segment = *std::exchange(source.open, std::nullopt);
  rows_ -= static_cast<int64_t>(segment.rows());
  // Compaction may have removed a part of a transaction. Its rows then come one commit later than
  // what they belong to, and leave empty ones here.
  std::erase_if(segment.ledger, [](const LedgerRow& row) { return row.ledger == Ledger{}; });
  int64_t sum = 0;
  for (const CountRow& row : segment.counts) sum += row.count;
  const int64_t counted = segment.Total().of(Outcome::kCounted);
  if (sum != counted)
    return Status::Stop(
        fmt::format("partition {} of '{}': the offsets [{}, {}) counted {}, but their records add "
                    "up to {}: the topic has lost records",
                    from.partition, from.source, segment.first.v, segment.next.v, counted, sum));
  const Provenance provenance{from, source.spec_id};
  for (const CountRow& row : segment.counts) {
    const auto name = names_.find(row.key.location);
    messages_.push_back(
        {.topic = options_.to,
         .key = CountKeyJson(from, segment.first, row.key, source.pane_size),
         .value = CountValueJson(provenance, segment.first, segment.next, row, source.pane_size,
                                 name == names_.end() ? nullptr : &name->second),
         .headers = {}});
  }
  for (const LedgerRow& row : segment.ledger)
    messages_.push_back({.topic = options_.to,
                         .key = LedgerKeyJson(from, segment.first, row.key),
                         .value = LedgerValueJson(provenance, segment.first, segment.next, row),
                         .headers = {}});
  messages_.push_back(ProgressMessage(from, source));
  rows_ += static_cast<int64_t>(segment.rows());
  source.done = source.seen;
  return Status::Ok();
}

Message SealMap::ProgressMessage(const SourcePartition& from, const Source& source) const {
  return {.topic = options_.to,
          .key = ProgressKeyJson(from),
          .value = ProgressValueJson({from, source.spec_id}, source.seen),
          .headers = {}};
}

// The position to continue at: before every group that may still go on, and so before everything
// behind those. A group that ended by age is one of them for `remember`.
StepPosition SealMap::Position(StepClock::time_point now) {
  StepPosition position{.topic_id = options_.topic_id, .next = next_, .done = {}};
  for (const auto& [from, source] : sources_)
    if (source.group.v >= 0 && (source.open || now - source.heard < options_.remember))
      position.next = std::min(position.next, source.begins_at);
  for (const auto& [from, source] : sources_)
    if (source.done.next.v > 0) position.done.emplace(from, source.done);
  return position;
}

Result<StepCommit> SealMap::NextCommit(StepClock::time_point now) {
  for (auto& [from, source] : sources_)
    // An old group is sealed although no newer one has begun: its writer would begin another with
    // its next commit.
    if (source.open && now - source.begun > options_.group_age_max)
      RETURN_IF_ERROR(Seal(from, source));
  StepCommit commit{.messages = std::exchange(messages_, {}), .position = Position(now)};
  if (commit.messages.empty()) return commit;
  rows_ = 0;
  for (const auto& [from, source] : sources_)
    if (source.open) rows_ += static_cast<int64_t>(source.open->rows());
  commit.messages.back().headers.emplace_back(kPositionHeader, StepPositionJson(commit.position));
  return commit;
}

}  // namespace sightline::kafka
