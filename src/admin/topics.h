// Topics: what the topics of Kafka should be, how those that are there differ from it, what of them
// breaks a guarantee, and who needs which right.
//
// Pure: no cluster is asked here. docs/KAFKA.md says why each setting is as it is.
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

// The cluster as it is.
struct TopicsNow {
  int32_t brokers = 1;
  std::map<std::string, KafkaTopicState> topics;  // those that are there, by name
  // Where there is a raw topic a location (connectors/kafka/raw_topic_name.h):
  std::vector<LocationId> locations;  // that shall have one
  std::vector<std::string> unread;    // topics that begin like theirs, and are none
};

enum class TopicAction {
  kMake,
  kChange,
  kLower,   // of what is kept or promised: only when told so
  kByHand,  // never done in place
};
std::string_view ToString(TopicAction action);

struct TopicDifference {
  TopicAction action = TopicAction::kChange;
  std::string topic;
  std::string setting;  // empty: the whole topic
  std::string now, wanted;
  std::string note;  // what a person should know; may be empty
};

struct TopicsPlan {
  std::vector<TopicDifference> differences;
  std::map<std::string, KafkaTopicSpec> specs;  // by name, whole: of those to make
};

// The names of all topics that `options` ask for, the raw topic first; but of raw topics by
// location. `steps`: also those between steps that run apart from each other.
std::vector<std::string> TopicNames(const Settings& options, bool steps);

// kStop: the options contradict each other.
Result<TopicsPlan> PlanTopics(const Settings& options, bool steps, const TopicsNow& now);

// A setting that breaks a guarantee.
struct TopicFinding {
  std::string topic, setting, value;
  std::string note;
};
std::vector<TopicFinding> CheckTopics(const Settings& options, bool steps, const TopicsNow& now);

// What a sample of the newest raw records has: the partitions of each camera.
using CameraPartitions = std::map<CameraId, std::set<KafkaPartition>>;
// One finding with a few of the cameras that are in several partitions, if there are any.
std::optional<TopicFinding> CheckCameras(const Settings& options, const CameraPartitions& cameras);

// A right in Kafka's words.
struct TopicRight {
  std::string resource;  // "topic", "transactional-id", "group"
  std::string name;
  bool prefixed = false;  // `name` is how theirs begin
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
  kRekey,
  kHandover
};
struct CopyNames {
  std::string from, to;
};
// The least that they need. kTopics: of plan, apply and check. `copy`: the topics of kRekey and
// kHandover, whose `from` is empty where a data folder is handed over.
std::vector<TopicRight> RightsNeeded(const Settings& options, bool steps, RightsOf who,
                                     const CopyNames& copy = {});

}  // namespace sightline
