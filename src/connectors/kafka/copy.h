// KafkaCopy: the records of several partitions into one topic, in step of append time, each under
// its key, exactly once.
//
// How far each partition is copied is committed together with the records, as offsets of a consumer
// group. Whoever begins fences the one before and goes on at these offsets; nothing else is kept
// anywhere. After anything but kOk and kRetry it is thrown away and another is opened. One thread;
// calls may wait for the cluster until `stop` is true.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/copy_input.h"
#include "connectors/kafka/options.h"
#include "connectors/kafka/reader.h"
#include "connectors/kafka/rekey_map.h"
#include "model/types.h"

namespace sightline {

struct KafkaCopyOptions {
  KafkaOptions kafka;
  KafkaTopic to;
  // transactional.id, and the group of the offsets: one for each topic that is written.
  std::string name;
  // The topic under whose partitions the offsets are kept; its partitions are at least as many.
  std::string offsets_topic;
  // What is copied, in words: a copy goes on only where the same was copied before.
  std::string what;
  RekeyBy by = RekeyBy::kCamera;
  TimeUnit timestamp_unit = TimeUnit::kMillis;
  Millis hold_max{500};  // a partition that is silent at its end holds up the others so long
  Millis commit_interval{100};
  int64_t commit_records_max = 16'384;
  int64_t commit_bytes_max = 8 << 20;
};

struct KafkaCopyStats {
  bool running = false;
  struct Partition {
    Offset next, end;
  };
  std::vector<Partition> partitions;  // of the source: copied up to, and its end
  AppendTime time = kNoAppendTime;    // of the newest record that was copied
  std::optional<int32_t> awaited;     // the partition that the others wait for
  // By this KafkaCopy, committed.
  int64_t read = 0, written = 0, bytes = 0, commits = 0;
  int64_t split = 0, unreadable = 0;  // see RekeyMap
};

class KafkaCopy {
 public:
  KafkaCopy(KafkaCopyOptions options, const std::atomic<bool>& stop);
  ~KafkaCopy();
  KafkaCopy(const KafkaCopy&) = delete;
  KafkaCopy& operator=(const KafkaCopy&) = delete;

  // First. From now on nobody else copies under this name.
  Status Fence();
  // Then: how far `partitions` partitions of the source are copied; none: nothing is.
  Result<std::map<int32_t, Offset>> Positions(int32_t partitions);
  // Then. From `from`, to `until` if it is given, otherwise for ever; one of each for each input.
  // What is told here is committed at once, so that a copy that has begun is known as one.
  Status Begin(std::vector<std::unique_ptr<CopyInput>> inputs, const std::vector<Offset>& from,
               std::optional<std::vector<Offset>> until);
  // Reads, and commits what was read. kRetry: nothing can be done now.
  Status Step(int64_t now_ms);
  // Everything up to `until` is committed.
  bool done() const;
  KafkaCopyStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
