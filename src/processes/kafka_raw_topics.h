// KafkaRawTopics: the topics of raw events as they are now - one, or one a location - and how each
// of them is read. Topics that are made while this runs are found, and read from their beginning;
// one that is deleted and made again is another source.
//
// Thread-safe; Look() is for one thread.
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
#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/raw_topic_name.h"
#include "connectors/kafka/reader.h"
#include "engine/source.h"
#include "model/types.h"

namespace sightline {

struct KafkaRawTopic {
  KafkaTopic topic;
  std::string source;  // its identity
  // Of its own where the topic was made again: a reader goes on with what it began with.
  std::shared_ptr<KafkaReader> reader;
};
using KafkaRawTopicPtr = std::shared_ptr<const KafkaRawTopic>;

class KafkaRawTopics {
 public:
  // Waits for the cluster, and looks. kStop: given up; the one topic is not there; options that
  // cannot be. By location there may be none yet.
  static Result<std::unique_ptr<KafkaRawTopics>> Open(const KafkaSettings& settings,
                                                      const std::function<bool()>& give_up);

  const RawTopicName& name() const { return name_; }
  const std::string& cluster_id() const { return cluster_id_; }
  KafkaAdmin& admin() { return *admin_; }
  // By name.
  std::vector<KafkaRawTopicPtr> topics() const;
  KafkaRawTopicPtr Find(std::string_view topic) const;         // null: there is none
  KafkaRawTopicPtr FindSource(std::string_view source) const;  // likewise
  // Partitions of all topics.
  int32_t partitions() const;

  // Asks the cluster, if the last time is some seconds ago. A topic that was made again is in both
  // lists. One that is gone from the cluster stays where there is but one: what is made under its
  // name is another source.
  struct Change {
    std::vector<KafkaRawTopicPtr> gone, found;
  };
  Change Look();

  // Where a partition ends, as its source knows it.
  KafkaEnd EndOf(const SourcePartition& partition) const;
  // `partition` is of a topic that was once known here; it is kept with the source.
  std::unique_ptr<Source> OpenSource(const KafkaRawTopicPtr& topic, int32_t partition,
                                     std::function<void()> wake) const;

  // Why the cluster does not answer, or what must not be done to topics was done; empty: all is
  // well.
  std::string trouble() const;
  // Why nobody knows when the records of some topic came; empty: that is known of all.
  std::string ClockUnguarded() const;

 private:
  KafkaRawTopics(KafkaOptions kafka, RawTopicName name, std::unique_ptr<KafkaAdmin> admin,
                 std::string cluster_id, std::shared_ptr<KafkaReader> reader);
  Result<Change> Compare(const std::vector<KafkaTopicState>& now, std::string& trouble);
  Result<KafkaRawTopicPtr> Make(const KafkaTopicState& state);
  void ReportTrouble(std::string trouble);

  const KafkaOptions kafka_;
  const RawTopicName name_;
  const std::unique_ptr<KafkaAdmin> admin_;
  const std::string cluster_id_;
  const std::shared_ptr<KafkaReader> reader_;
  std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
  bool opened_ = false;                 // new ones are told
  std::set<std::string> known_;         // names that reader_ has seen, each of one topic; of Look()
  std::map<std::string, int> missing_;  // how often a topic was not there; of Look()
  mutable std::mutex mutex_;
  std::map<std::string, KafkaRawTopicPtr, std::less<>> topics_;  // under mutex_
  std::string trouble_;                                          // under mutex_
};

// For KafkaDetections: with the number of their partitions.
std::map<std::string, int32_t, std::less<>> TopicsToPost(const KafkaRawTopics& topics);
Result<std::map<std::string, int32_t, std::less<>>> RawTopicsNow(KafkaAdmin& admin,
                                                                 const RawTopicName& name);
// Those that match.
Result<std::vector<KafkaTopicState>> DescribeRawTopics(KafkaAdmin& admin, const RawTopicName& name);

// Into which partition of the counts a source's partition goes (KafkaWriterOptions::partition_of):
// null where there is one raw topic. kStop, given up or none: the counts topic is not there.
Result<std::function<int32_t(const SourcePartition&)>> CountsPartitions(
    KafkaRawTopics& raw, const KafkaSettings& settings, const std::function<bool()>& give_up);

}  // namespace sightline
