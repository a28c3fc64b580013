// KafkaCopy: copies the records of several partitions into one topic, in order of append time, each
// under its key, exactly once.
//
// How far each partition is copied is committed in one transaction with the records, as offsets of
// a consumer group. A new copy fences the one before it and continues at these offsets; no other
// state is kept anywhere. After any status but kOk and kRetry the object is discarded and a new one
// is opened. One thread. Calls may wait for the cluster until `stop` is true.
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
  // The transactional.id and the group of the offsets: one for each topic that is written.
  std::string name;
  // The topic under whose partitions the group's offsets are stored. It has at least as many
  // partitions as there are inputs.
  std::string offsets_topic;
  // What is copied, in words. A copy continues only where the same was copied before.
  std::string what;
  RekeyBy by = RekeyBy::kCamera;
  DecodeRules decode;
  Millis hold_max{500};  // how long a partition that is silent at its end holds up the others
  Millis commit_interval{100};
  // A transaction has at most so much, and less where the broker is slow.
  int64_t commit_records_max = 16'384;
  int64_t commit_bytes_max = 8 << 20;
};

struct KafkaCopyStats {
  bool running = false;
  struct Partition {
    Offset next, end;
  };
  std::vector<Partition> partitions;  // of the source: copied up to `next`, and the partition's end
  AppendTime time = kNoAppendTime;    // of the newest record that was copied
  std::optional<int32_t> awaited;     // the partition for which the others wait
  // Counters of this object, as committed.
  int64_t read = 0, written = 0, bytes = 0, commits = 0;
  int64_t split = 0, unreadable = 0;  // see RekeyMap
};

class KafkaCopy {
 public:
  KafkaCopy(KafkaCopyOptions options, const std::atomic<bool>& stop);
  ~KafkaCopy();
  KafkaCopy(const KafkaCopy&) = delete;
  KafkaCopy& operator=(const KafkaCopy&) = delete;

  // Call it first. From then on, nobody else copies under this name.
  Status Fence();
  // Call it next: how far each of the first `partitions` partitions of the source is copied; empty
  // if nothing is.
  Result<std::map<int32_t, Offset>> Positions(int32_t partitions);
  // Call it then. Copies from `from` to `until`, or for ever without `until`; both have one offset
  // for each input. The positions are committed at once, so that a copy that has begun is known as
  // one.
  Status Begin(std::vector<std::unique_ptr<CopyInput>> inputs, const std::vector<Offset>& from,
               std::optional<std::vector<Offset>> until);
  // Reads records and commits those that were read. kRetry: nothing can be done now.
  Status Step(int64_t now_ms);
  // True if everything up to `until` is committed.
  bool done() const;
  KafkaCopyStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
