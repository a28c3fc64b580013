// The sums of Verify() over the rows of the two tables, by source partition and offset range.
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

// Ranges as they were committed: equal ranges are the same commit, different ones must not overlap.
struct RangeSums {
  struct Key {
    Offset first, next;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  std::map<Key, int64_t> counted;  // item_count, or the ledger's `counted`
};
using PartitionSums = std::map<SourcePartition, RangeSums>;

// Reports overlapping ranges. For the ledger it also reports gaps, and ranges that do not end at
// the table's txn.
void CheckRanges(std::string_view table, const Snapshot& snapshot, const PartitionSums& sums,
                 std::vector<Finding>& findings);

// Compares the sums over the offsets that both tables have, up to a common boundary. Adds them to
// the report, with a finding for each source partition in which they differ.
void CompareSums(const Snapshot& increments, const PartitionSums& increment_sums,
                 const Snapshot& ledger, const PartitionSums& ledger_sums, VerifyReport& report);

}  // namespace sightline::lake
