// ReadPartitionBounds: where the partitions of a topic begin and end, and the times of their oldest
// and newest records.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "model/types.h"

namespace sightline {

// Times are the records' timestamps, whoever set them. kNoAppendTime: there are no records.
struct PartitionBounds {
  Offset earliest, end;
  Offset from;  // the first record at or after the requested time; `end` if there is none
  AppendTime oldest = kNoAppendTime, newest = kNoAppendTime;
  bool empty() const { return oldest == kNoAppendTime; }
};

// Reads the bounds of the partitions [0, partitions). Waits for the cluster: kRetry when `timeout`
// is over, kStop if the options are refused.
Result<std::vector<PartitionBounds>> ReadPartitionBounds(const KafkaOptions& options,
                                                         const std::string& topic,
                                                         int32_t partitions, AppendTime from,
                                                         Millis timeout);

}  // namespace sightline
