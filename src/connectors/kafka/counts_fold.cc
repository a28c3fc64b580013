#include "connectors/kafka/counts_fold.h"

#include <utility>

namespace sightline::kafka {
namespace {

Ledger Less(Ledger all, const Ledger& part) {
  all.received -= part.received;
  for (size_t i = 0; i < kOutcomes; ++i) all.outcomes[i] -= part.outcomes[i];
  all.conflicts -= part.conflicts;
  all.heartbeats -= part.heartbeats;
  all.lost -= part.lost;
  return all;
}

}  // namespace

Result<std::optional<CountsFold::Commit>> CountsFold::Take(std::string_view value) {
  Result<CountsRecord> parsed = ParseCountsRecord(value);
  if (!parsed.ok()) return parsed.status();
  return Take(std::move(parsed).value());
}

void CountsFold::Resume(const SourcePartition& from, const Progress& progress) {
  sources_[from].progress = progress;
}

std::optional<CountsFold::Commit> CountsFold::Take(CountsRecord record) {
  Source& source = sources_[record.from];
  if (!record.progress) {
    // Groups are ordered by their first offset. Records of an older group can only be old ones,
    // read again: its totals were final when the newer group began.
    if (source.group && record.first < source.group->first) return std::nullopt;
    if (!source.group || record.first > source.group->first)
      source.group = Group{.first = record.first, .totals = {}, .ledger = {}};
    if (record.total) {
      TakeTotal(source, std::move(record));
    } else if (record.ledger) {
      TakeLedger(source, record);
    }
    return std::nullopt;
  }
  // This commit was read before: the topic is read again from an earlier place, or was compacted
  // behind the reader.
  if (source.progress && record.next <= source.progress->next) return std::nullopt;
  const Progress before = source.progress.value_or(Progress{.next = {0}});
  Commit commit{.from = record.from,
                .segment = {.first = before.next,
                            .next = record.next,
                            .counts = std::exchange(source.added, {}),
                            .ledger = std::exchange(source.ledger, {}),
                            .dead_letters = {},
                            .watermark = record.progress->watermark}};
  SortCounts(commit.segment.counts);
  SortLedger(commit.segment.ledger);
  // The part of the progress record's ledger that no ledger row accounts for goes under `unknown`:
  // earlier writers wrote no rows.
  const Ledger rest = Less(Less(record.progress->ledger, before.ledger), commit.segment.Total());
  if (rest != Ledger{}) MergeLedger(commit.segment.ledger, {{{.known = false}, rest}});
  source.progress = record.progress;
  return commit;
}

// Adds the difference from the total that is known of this key. A total that belongs to a commit
// before `progress` only becomes known: it was handed on already.
void CountsFold::TakeTotal(Source& source, CountsRecord&& record) {
  auto& [next, known] = source.group->totals[record.total->key];
  if (record.next <= next) return;
  next = record.next;
  const int64_t before = std::exchange(known, record.total->count);
  if (known == before || (source.progress && record.next <= source.progress->next)) return;
  record.total->count -= before;
  source.added.push_back(*std::move(record.total));
}

void CountsFold::TakeLedger(Source& source, const CountsRecord& record) {
  auto& [next, known] = source.group->ledger[record.ledger->key];
  if (record.next <= next) return;
  next = record.next;
  const Ledger before = std::exchange(known, record.ledger->ledger);
  if (source.progress && record.next <= source.progress->next) return;
  source.ledger.push_back({record.ledger->key, Less(known, before)});
}

}  // namespace sightline::kafka
