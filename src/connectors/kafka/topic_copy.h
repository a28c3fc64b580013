// TopicCopy: a topic into another one, keyed anew: what `rekey` and `handover --from` run on.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/copy.h"
#include "connectors/kafka/reader.h"
#include "model/types.h"

namespace sightline {

// The two topics of a copy, as they are.
struct CopyTopics {
  KafkaTopicState from, to;
};
// Whether one may be copied into the other at all; and what is not as it should be, for people.
// Pure.
Status CheckCopyTopics(const CopyTopics& topics);
std::vector<std::string> WarnOfCopyTopics(const CopyTopics& topics);
// What to say of a topic that is not there and should be written.
std::string NoTopicToWrite(const std::string& topic, const std::string& brokers);

struct TopicCopyOptions {
  KafkaCopyOptions copy;
  KafkaTopic from;
  // Where it begins when it has not begun yet: the first record of this append time; none: the
  // earliest one.
  std::optional<AppendTime> start_at;
  // Only into a topic without records, when it has not begun yet.
  bool only_into_empty = true;
  bool until_end = false;  // ends where the topic ended when the first copy began
};

class TopicCopy {
 public:
  explicit TopicCopy(TopicCopyOptions options) : options_(std::move(options)) {}

  // As CopyRunner::Open, one after the other. Outlives what it gives.
  Result<std::unique_ptr<KafkaCopy>> Open(const std::atomic<bool>& stop);

 private:
  Result<std::vector<Offset>> StartOf(KafkaCopy& copy);

  const TopicCopyOptions options_;
  std::unique_ptr<KafkaReader> reader_;
  std::optional<std::vector<Offset>> until_;
};

// Nothing was copied into `to` yet: kStop unless it is empty.
Status CheckEmpty(const KafkaOptions& kafka, const KafkaTopic& to);

}  // namespace sightline
