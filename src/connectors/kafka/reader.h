// KafkaReader: reads from a Kafka cluster over one connection per broker.
//
// The sources of partitions share it. Each has its own bounded queue, so that a slow partition
// holds up no other. It returns committed records only. Thread-safe. It outlives its sources.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/copy_input.h"
#include "connectors/kafka/options.h"
#include "engine/source.h"
#include "model/types.h"

namespace sightline {

// What a source needs to know about its topic.
struct KafkaTopic {
  std::string name;
  std::string id;
  int32_t partitions = 0;
  // True if the broker sets the records' timestamps. Otherwise they are the senders' and prove
  // nothing: sources then give no append times, and results are `clock_unguarded`.
  bool log_append_time = false;
};
KafkaTopic TopicToRead(const KafkaTopicState& state);

// The end of a partition, as far as it is known.
struct KafkaEnd {
  Offset next;
  AppendTime newest = kNoAppendTime;  // of the newest record
};

class KafkaReader {
 public:
  // Connects in the background. kStop: the options are refused.
  static Result<std::unique_ptr<KafkaReader>> Open(const KafkaOptions& options);
  ~KafkaReader();
  KafkaReader(const KafkaReader&) = delete;
  KafkaReader& operator=(const KafkaReader&) = delete;

  // Opens a source; only one at a time may read a partition. `wake` is called on a thread of the
  // client when a call that said kRetry, or returned nothing, is worth repeating. It must only wake
  // somebody.
  std::unique_ptr<Source> OpenSource(const KafkaTopic& topic, int32_t partition,
                                     std::function<void()> wake);
  // Opens a source that also returns the records' keys. If the topic does not use LogAppendTime,
  // the times are the senders'.
  std::unique_ptr<CopyInput> OpenCopyInput(const KafkaTopic& topic, int32_t partition);
  // Asks where the partitions end, without waiting, and takes in the answers to earlier calls. For
  // users of EndOf() that have no source. Call it from one thread.
  void AskEnds(const std::vector<KafkaTopic>& topics);
  // The end of a partition that a source reads or has read, or that AskEnds() knows; otherwise
  // offset 0 and no time.
  KafkaEnd EndOf(const std::string& topic_id, int32_t partition) const;

 private:
  struct State;
  explicit KafkaReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The identity of a source: cluster id, topic name and topic id.
std::string KafkaSourceName(const std::string& cluster_id, const KafkaTopic& topic);
// The topic name and the topic id in such an identity; empty if it is none.
std::string_view TopicOfSource(std::string_view source);
std::string_view TopicIdOfSource(std::string_view source);

}  // namespace sightline
