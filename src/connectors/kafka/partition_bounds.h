// ReadPartitionBounds: where the partitions of a topic begin and end, and since when.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "model/types.h"

namespace sightline {

// Times are those of the records, whoever stamps them; kNoAppendTime: there are none.
struct PartitionBounds {
  Offset earliest, end;
  Offset from;  // the first record of the time asked for, or later; `end` if there is none
  AppendTime oldest = kNoAppendTime, newest = kNoAppendTime;
  [[nodiscard]] bool empty() const { return oldest == kNoAppendTime; }
};

// Of all partitions [0, partitions). Waits for the cluster: kRetry when `timeout` is over, kStop if
// the options are refused.
Result<std::vector<PartitionBounds>> ReadPartitionBounds(const KafkaOptions& options,
                                                         const std::string& topic,
                                                         int32_t partitions, AppendTime from,
                                                         Millis timeout);

}  // namespace sightline
