#include "connectors/lake/verify_sums.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "connectors/lake/maintenance.h"
#include "connectors/lake/tables.h"

namespace sightline::lake {
namespace {

std::string NameOf(const SourcePartition& partition) {
  return fmt::format("{} partition {}", partition.source, partition.partition);
}

// The greatest offset up to `limit` that no range of either table straddles. The two tables are
// committed one after the other and may divide the offsets differently; only up to here can their
// sums be compared.
Offset CommonBoundary(const RangeSums& ledger, const RangeSums* increments, Offset limit) {
  std::vector<Offset> boundaries;
  for (const auto& [range, counted] : ledger.counted) boundaries.push_back(range.next);
  std::sort(boundaries.rbegin(), boundaries.rend());
  for (const Offset boundary : boundaries) {
    if (boundary > limit) continue;
    const auto straddles = [&](const auto& entry) {
      return entry.first.first < boundary && boundary < entry.first.next;
    };
    if (increments == nullptr ||
        std::none_of(increments->counted.begin(), increments->counted.end(), straddles))
      return boundary;
  }
  return ledger.counted.begin()->first.first;
}

int64_t SumBetween(const RangeSums* sums, Offset first, Offset next) {
  int64_t sum = 0;
  if (sums == nullptr) return sum;
  for (const auto& [range, counted] : sums->counted)
    if (range.first >= first && range.next <= next) sum += counted;
  return sum;
}

}  // namespace

void CheckRanges(std::string_view table, const Snapshot& snapshot, const PartitionSums& sums,
                 std::vector<Finding>& findings) {
  const bool ledger = table == kLedgerTable;
  for (const auto& entry : sums) {
    const SourcePartition& partition = entry.first;
    const RangeSums& ranges = entry.second;
    const auto find = [&](std::string what) {
      findings.push_back({std::string(table), NameOf(partition), std::move(what)});
    };
    const std::optional<int64_t> txn = snapshot.Txn(OffsetTxn(table, partition));
    const RangeSums::Key* before = nullptr;
    for (const auto& [range, counted] : ranges.counted) {
      if (before != nullptr && range.first < before->next)
        find(fmt::format("offsets [{}, {}) and [{}, {}) overlap: something is there twice",
                         before->first.v, before->next.v, range.first.v, range.next.v));
      if (ledger && before != nullptr && range.first > before->next)
        find(fmt::format("offsets [{}, {}) are missing", before->next.v, range.first.v));
      before = &range;
    }
    const int64_t end = before->next.v;
    if (!txn.has_value() || end > *txn)
      find(fmt::format("there are rows up to offset {}, but only {} are committed", end,
                       txn.value_or(0)));
    if (ledger && txn.has_value() && end < *txn)
      find(fmt::format("offsets [{}, {}) are missing", end, *txn));
  }
  if (!ledger) return;
  for (const auto& [app, version] : snapshot.txns)
    if (const auto partition = ParseOffsetTxn(table, app); partition && !sums.contains(*partition))
      findings.push_back({std::string(table), NameOf(*partition),
                          fmt::format("everything up to offset {} is missing", version)});
}

void CompareSums(const Snapshot& increments, const PartitionSums& increment_sums,
                 const Snapshot& ledger, const PartitionSums& ledger_sums, VerifyReport& report) {
  for (const auto& [partition, in_ledger] : ledger_sums) {
    const auto found = increment_sums.find(partition);
    const RangeSums* in_increments = found == increment_sums.end() ? nullptr : &found->second;
    const auto increment_txn = increments.Txn(OffsetTxn(kIncrementsTable, partition));
    const auto ledger_txn = ledger.Txn(OffsetTxn(kLedgerTable, partition));
    if (!increment_txn.has_value() || !ledger_txn.has_value()) continue;
    const Offset first = in_ledger.counted.begin()->first.first;
    const Offset limit{std::min(*increment_txn, *ledger_txn)};
    const Offset next = CommonBoundary(in_ledger, in_increments, limit);
    const RemovedCounts removed = RemovedOf(increments, partition);
    if (removed.next > next) continue;  // the removed rows can no longer be divided there
    const int64_t item_count = SumBetween(in_increments, first, next) + removed.item_count;
    const int64_t counted = SumBetween(&in_ledger, first, next);
    report.item_count += item_count;
    report.counted += counted;
    if (item_count != counted)
      report.findings.push_back(
          {std::string(kIncrementsTable), NameOf(partition),
           fmt::format("over offsets [{}, {}) item_count adds up to {}, and the ledger counted {}",
                       first.v, next.v, item_count, counted)});
  }
}

}  // namespace sightline::lake
