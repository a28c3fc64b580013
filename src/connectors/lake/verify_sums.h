// What Verify() adds up over the rows of the two tables, by source partition and range of offsets.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/lake/snapshot.h"
#include "connectors/lake/verify.h"
#include "model/types.h"

namespace sightline::lake {

// Ranges come as they were committed: equal ones are the same commit, others must not overlap.
struct RangeSums {
  struct Key {
    Offset first, next;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  std::map<Key, int64_t> counted;  // item_count, or the ledger's `counted`
};
using PartitionSums = std::map<SourcePartition, RangeSums>;

// Overlapping ranges; ledger: also gaps, and that they end at the table's txn.
void CheckRanges(std::string_view table, const Snapshot& snapshot, const PartitionSums& sums,
                 std::vector<Finding>& findings);

// Sums over the offsets that both tables have, up to a boundary of both. Adds them to the report,
// and a finding for each source partition where they differ.
void CompareSums(const Snapshot& increments, const PartitionSums& increment_sums,
                 const Snapshot& ledger, const PartitionSums& ledger_sums, VerifyReport& report);

}  // namespace sightline::lake
