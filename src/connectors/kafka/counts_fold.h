// CountsFold: records of a counts topic, in their order, into what each commit added. See
// KafkaCountsFeed. Pure; one thread.
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
  // A commit when `value` was its progress record. kStop: not a record of ours, or of a version
  // that this program does not know; nothing has changed then.
  Result<std::optional<Commit>> Take(std::string_view value);

 private:
  struct Group {
    Offset first;                         // of the newest group: older ones are final
    std::map<CountKey, CountRow> totals;  // of it
  };
  struct Source {
    std::optional<Progress> progress;
    std::optional<Group> group;
    std::vector<CountRow> added;  // since `progress`, sorted
  };
  std::map<SourcePartition, Source> sources_;
};

}  // namespace sightline::kafka
