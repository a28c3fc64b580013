// KafkaAdmin: reads, creates and changes topics. Its calls wait for the cluster, so the engine's
// threads must not make them. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "model/types.h"

namespace sightline {

struct KafkaTopicState {
  std::string name;
  std::string id;  // changes when the topic is deleted and created again
  int32_t partitions = 0;
  int32_t replication = 0;  // of the first partition
  // The settings in force, defaults included.
  std::map<std::string, std::string> settings;
};

struct KafkaTopicSpec {
  std::string name;
  int32_t partitions = 1;
  int32_t replication = 1;
  std::map<std::string, std::string> settings;
};

class KafkaAdmin {
 public:
  // Connects in the background. `timeout` applies to each call.
  static Result<std::unique_ptr<KafkaAdmin>> Open(const KafkaOptions& options, Millis timeout);
  ~KafkaAdmin();
  KafkaAdmin(const KafkaAdmin&) = delete;
  KafkaAdmin& operator=(const KafkaAdmin&) = delete;

  // All calls: kRetry if the cluster did not answer (with the reason, if it is known), or if this
  // user lacks a right, which the message names. kStop if the cluster refused the request.
  Result<std::string> ClusterId();
  Result<int32_t> Brokers();
  // Nothing if there is no such topic.
  Result<std::optional<KafkaTopicState>> Describe(const std::string& topic);
  // The states of those of `topics` that exist.
  Result<std::vector<KafkaTopicState>> DescribeAll(const std::vector<std::string>& topics);
  // The names of all topics that this user may describe.
  Result<std::vector<std::string>> Names();
  Status Create(const KafkaTopicSpec& spec);
  // Sets these settings and leaves the others as they are.
  Status Alter(const std::string& topic, const std::map<std::string, std::string>& settings);
  Status Delete(const std::string& topic);
  // Deletes everything before `offset`, as retention would.
  Status DeleteRecords(const std::string& topic, int32_t partition, Offset offset);

 private:
  struct State;
  explicit KafkaAdmin(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
