// ReadNewest: reads the newest committed records of a topic's partitions, for a look at what is
// there.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "model/types.h"

namespace sightline {

struct NewestRecord {
  int32_t partition = 0;
  Offset offset;
  AppendTime append_time = kNoAppendTime;  // of topics with LogAppendTime only
  std::optional<std::string_view> key;
  std::string_view value;
};

// Reads at most `records_max` records of each partition in [0, partitions), one partition after the
// other, and calls `take` with each of them on this thread. Waits for the cluster, at most
// `timeout` for each partition. kRetry when that time is over, or when this user may not read;
// kStop if the options are refused.
Status ReadNewest(const KafkaOptions& options, const std::string& topic, int32_t partitions,
                  int64_t records_max, Millis timeout,
                  const std::function<void(const NewestRecord&)>& take);

}  // namespace sightline
