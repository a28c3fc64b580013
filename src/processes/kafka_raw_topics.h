// KafkaRawTopics: the topics that hold raw events now, one for all locations or one per location,
// and the reader of each. Topics that are created later are found and read from their beginning. A
// topic that was deleted and created again is another source.
//
// Thread-safe, except Look(), which one thread calls.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/kafka_wait.h"
#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/raw_topic_name.h"
#include "connectors/kafka/reader.h"
#include "engine/source.h"
#include "model/log_end.h"
#include "model/types.h"

namespace sightline {

struct KafkaRawTopic {
  KafkaTopic topic;
  std::string source;  // its identity
  // A topic that was created again has a reader of its own: a reader stays with the topic that it
  // began with.
  std::shared_ptr<KafkaReader> reader;
};
using KafkaRawTopicPtr = std::shared_ptr<const KafkaRawTopic>;

class KafkaRawTopics {
 public:
  // Waits for the cluster and looks for the topics. kStop: `give_up` was true, the only topic does
  // not exist, or the options contradict each other. With topics per location there may be none
  // yet.
  static Result<std::unique_ptr<KafkaRawTopics>> Open(const KafkaSettings& settings,
                                                      const std::function<bool()>& give_up);

  const KafkaOptions& kafka() const { return kafka_; }
  const RawTopicName& name() const { return name_; }
  const std::string& cluster_id() const { return cluster_id_; }
  KafkaAdmin& admin() { return *admin_; }
  // Ordered by name.
  std::vector<KafkaRawTopicPtr> topics() const;
  KafkaRawTopicPtr Find(std::string_view topic) const;         // null: there is none
  KafkaRawTopicPtr FindSource(std::string_view source) const;  // null: there is none
  // The number of partitions of all topics together.
  int32_t partitions() const;

  // Asks the cluster, unless that was done in the last few seconds. A topic that was created again
  // is in both lists. If there is only one topic, it stays even when the cluster has it no longer:
  // a topic that is created under its name is another source.
  struct Change {
    std::vector<KafkaRawTopicPtr> gone, found;
  };
  Change Look();

  // Where a partition ends, as far as its source knows.
  LogEnd EndOf(const SourcePartition& partition) const;
  // Opens a partition of a topic that was found earlier. The source keeps the topic alive.
  std::unique_ptr<Source> OpenSource(const KafkaRawTopicPtr& topic, int32_t partition,
                                     std::function<void()> wake) const;

  // Why the cluster does not answer, or what was done to a topic that must not be done. Empty: all
  // is well.
  std::string trouble() const;
  // Why the append times of some topic are not the brokers'. Empty: they are, for every topic.
  std::string ClockUnguarded() const;

 private:
  KafkaRawTopics(KafkaCluster cluster, RawTopicName name, std::shared_ptr<KafkaReader> reader);
  Result<Change> Compare(const std::vector<KafkaTopicState>& now, std::string& trouble);
  Result<KafkaRawTopicPtr> Make(const KafkaTopicState& state);
  void ReportTrouble(std::string trouble);

  const KafkaOptions kafka_;
  const RawTopicName name_;
  const std::unique_ptr<KafkaAdmin> admin_;
  const std::string cluster_id_;
  const std::shared_ptr<KafkaReader> reader_;
  std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
  bool opened_ = false;                 // from then on, new topics are logged
  std::set<std::string> known_;         // names that reader_ has seen, each of one topic; of Look()
  std::map<std::string, int> missing_;  // how often a topic was not there; of Look()
  mutable std::mutex mutex_;
  std::map<std::string, KafkaRawTopicPtr, std::less<>> topics_;  // under mutex_
  std::string trouble_;                                          // under mutex_
};

// The topics with the numbers of their partitions, for KafkaDetections.
std::map<std::string, int32_t, std::less<>> TopicsToPost(const KafkaRawTopics& topics);
Result<std::map<std::string, int32_t, std::less<>>> RawTopicsNow(KafkaAdmin& admin,
                                                                 const RawTopicName& name);
// The topics of the cluster that match the name.
Result<std::vector<KafkaTopicState>> DescribeRawTopics(KafkaAdmin& admin, const RawTopicName& name);

// Maps a partition of a source to the partition of the counts topic that it is counted into
// (KafkaWriterOptions::partition_of). Null if there is only one raw topic. kStop: the counts topic
// does not exist, or `give_up` was true.
Result<std::function<int32_t(const SourcePartition&)>> CountsPartitions(
    KafkaRawTopics& raw, const KafkaSettings& settings, const std::function<bool()>& give_up);

}  // namespace sightline
