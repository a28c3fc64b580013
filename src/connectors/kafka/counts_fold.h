// CountsFold: folds the records of a counts topic, in order, into what each commit added. See
// KafkaCountsFeed for the rule. It has no I/O. One thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/records.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline::kafka {

class CountsFold {
 public:
  struct Commit {
    SourcePartition from;
    Segment segment;
  };
  // Takes the next record. Returns a commit if the record was its progress record. kStop if it is
  // not a record of ours, or is of a version that this program does not know; then nothing has
  // changed.
  Result<std::optional<Commit>> Take(std::string_view value);
  std::optional<Commit> Take(CountsRecord record);
  // Continues from `progress`: call it before the first record of `from`. The group that is open
  // there must be read from its start.
  void Resume(const SourcePartition& from, const Progress& progress);

 private:
  template <typename Value>
  struct Known {
    Offset next;
    Value value;
  };
  struct Group {
    Offset first;  // of the newest group; older groups are final
    std::map<CountKey, Known<int64_t>> totals;
    std::map<LedgerKey, Known<Ledger>> ledger;
  };
  struct Source {
    std::optional<Progress> progress;
    std::optional<Group> group;
    // What was read since `progress`, unsorted.
    std::vector<CountRow> added;
    std::vector<LedgerRow> ledger;
  };
  static void TakeTotal(Source& source, CountsRecord&& record);
  static void TakeLedger(Source& source, const CountsRecord& record);
  std::map<SourcePartition, Source> sources_;
};

}  // namespace sightline::kafka
