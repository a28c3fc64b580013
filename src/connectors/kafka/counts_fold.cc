#include "connectors/kafka/counts_fold.h"

#include <utility>

namespace sightline::kafka {
namespace {

Ledger Less(Ledger all, const Ledger& part) {
  all.received -= part.received;
  for (size_t i = 0; i < kOutcomes; ++i) all.outcomes[i] -= part.outcomes[i];
  all.conflicts -= part.conflicts;
  all.heartbeats -= part.heartbeats;
  return all;
}

}  // namespace

Result<std::optional<CountsFold::Commit>> CountsFold::Take(std::string_view value) {
  Result<CountsRecord> parsed = ParseCountsRecord(value);
  if (!parsed.ok()) return parsed.status();
  CountsRecord& record = parsed.value();
  Source& source = sources_[record.from];
  // Read before: a topic is read again from an earlier place, or compacted behind us.
  if (source.progress && record.next <= source.progress->next) return std::optional<Commit>();
  if (record.total) {
    if (source.group && record.first < source.group->first) return std::optional<Commit>();
    if (!source.group || record.first > source.group->first)
      source.group = Group{.first = record.first, .totals = {}};
    CountRow& known = source.group->totals[record.total->key];
    CountRow added = *record.total;
    added.count -= known.count;
    known = std::move(*record.total);
    if (added.count != 0) {
      std::vector<CountRow> rows;
      rows.push_back(std::move(added));
      MergeCounts(source.added, std::move(rows));
    }
    return std::optional<Commit>();
  }
  const Progress before = source.progress.value_or(Progress{.next = {0}});
  Commit commit{.from = record.from,
                .segment = {.first = before.next,
                            .next = record.next,
                            .counts = std::exchange(source.added, {}),
                            .ledger = {},
                            .set_aside = {},
                            .watermark = record.progress->watermark}};
  commit.segment.ledger.push_back(
      {.key = {.known = false}, .ledger = Less(record.progress->ledger, before.ledger)});
  source.progress = record.progress;
  return std::optional<Commit>(std::move(commit));
}

}  // namespace sightline::kafka
