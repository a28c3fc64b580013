// Topics: knows how the topics in Kafka should be configured, how existing ones differ from that,
// which settings break a guarantee, and which rights each process needs.
//
// Pure: it asks no cluster. docs/KAFKA.md says why each setting is as it is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/membership.h"
#include "model/types.h"

namespace sightline {

// The present state of the cluster.
struct TopicsNow {
  int32_t brokers = 1;
  std::map<std::string, KafkaTopicState> topics;  // those that exist, by name
  // With one raw topic per location (connectors/kafka/raw_topic_name.h):
  std::vector<LocationId> locations;  // the locations that must have a topic
  std::vector<std::string> unread;    // topics whose names begin like a raw topic's, but do not fit
};

enum class TopicAction {
  kMake,
  kChange,
  kLower,   // keeps or promises less than now: needs --yes
  kByHand,  // must not be done in place
};
std::string_view ToString(TopicAction action);

struct TopicDifference {
  TopicAction action = TopicAction::kChange;
  std::string topic;
  std::string setting;  // empty: the whole topic
  std::string now, wanted;
  std::string note;  // for people; may be empty
};

struct TopicsPlan {
  std::vector<TopicDifference> differences;
  std::map<std::string, KafkaTopicSpec> specs;  // the topics to create, by name
};

// Returns the names of all topics that `options` ask for, the raw topic first. Raw topics by
// location are left out. `steps` adds the topics between `count`, `join`, `transform` and `store`.
std::vector<std::string> TopicNames(const Settings& options, bool steps);

// kStop: the options contradict each other.
Result<TopicsPlan> PlanTopics(const Settings& options, bool steps, const TopicsNow& now);

// A setting that breaks a guarantee.
struct TopicFinding {
  std::string topic, setting, value;
  std::string note;
};
std::vector<TopicFinding> CheckTopics(const Settings& options, bool steps, const TopicsNow& now);

// The partitions of each camera in a sample of the newest raw records.
using CameraPartitions = std::map<CameraId, std::set<KafkaPartition>>;
// Returns one finding that names some of the cameras in several partitions, if there are any.
std::optional<TopicFinding> CheckCameras(const Settings& options, const CameraPartitions& cameras);

// A right, in Kafka's terms.
struct TopicRight {
  std::string resource;  // "topic", "transactional-id", "group"
  std::string name;
  bool prefixed = false;  // `name` is a prefix
  std::string operation;  // "Read", as kafka-acls takes it
};
enum class RightsOf {
  kUp,
  kCount,
  kJoin,
  kTransform,
  kStore,
  kServe,
  kTopics,
  kProducer,
  kReader,
  kDoctor,
  kRekey,
  kHandover
};
struct CopyNames {
  std::string from, to;
};
// Returns the minimal rights. kTopics stands for `topics plan`, `apply` and `check`. `copy` has the
// topics of kRekey and kHandover; its `from` is empty if a data folder is handed over.
std::vector<TopicRight> RightsNeeded(const Settings& options, bool steps, RightsOf who,
                                     const CopyNames& copy = {});

}  // namespace sightline
