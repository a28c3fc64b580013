// KafkaReader: what a process reads from a Kafka cluster, over one connection a broker.
//
// Sources of partitions share it; each has its own bounded queue, so that a slow partition holds up
// no other. Only committed records are given. Thread-safe; it outlives its sources.
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

// What a source is told of its topic.
struct KafkaTopic {
  std::string name;
  std::string id;
  int32_t partitions = 0;
  // The broker stamps the records. Otherwise their times are the senders' and say nothing: sources
  // then give no append times, and results are `clock_unguarded`.
  bool log_append_time = false;
};
KafkaTopic TopicToRead(const KafkaTopicState& state);

// The end of a partition as its source knows it.
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

  // One at a time for each partition. `wake` is called on a thread of the client's when a call that
  // said kRetry, or gave nothing, is worth making again; it must only wake somebody.
  std::unique_ptr<Source> OpenSource(const KafkaTopic& topic, int32_t partition,
                                     std::function<void()> wake);
  // The same, of records with their keys. Of a topic without LogAppendTime their times are the
  // senders'.
  std::unique_ptr<CopyInput> OpenCopyInput(const KafkaTopic& topic, int32_t partition);
  // Asks where the partitions end, without waiting, and takes the answers to earlier calls: for
  // those who want EndOf() without a source. By one thread.
  void AskEnds(const std::vector<KafkaTopic>& topics);
  // Of a partition that some source reads or has read, or that AskEnds() knows of; otherwise offset
  // 0 and no time.
  KafkaEnd EndOf(const std::string& topic_id, int32_t partition) const;

 private:
  struct State;
  explicit KafkaReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The identity of what is read: cluster, topic and the topic's id.
std::string KafkaSourceName(const std::string& cluster_id, const KafkaTopic& topic);
// Of such an identity the topic, and its id; empty if it is none.
std::string_view TopicOfSource(std::string_view source);
std::string_view TopicIdOfSource(std::string_view source);

}  // namespace sightline
