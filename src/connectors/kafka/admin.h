// KafkaAdmin: topics as they are and as they should be. Its calls wait for the cluster: not for the
// engine's threads. Thread-safe.
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
  std::string id;  // another one when the topic is deleted and made again
  int32_t partitions = 0;
  int32_t replication = 0;  // of the first partition
  // What is in force, defaults included.
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
  // Connects in the background. `timeout` is of each call.
  static Result<std::unique_ptr<KafkaAdmin>> Open(const KafkaOptions& options, Millis timeout);
  ~KafkaAdmin();
  KafkaAdmin(const KafkaAdmin&) = delete;
  KafkaAdmin& operator=(const KafkaAdmin&) = delete;

  // All calls: kRetry if the cluster did not answer (and why, where that is known) or this user
  // lacks a right, which it names; kStop if it refused.
  Result<std::string> ClusterId();
  Result<int32_t> Brokers();
  // None: there is no such topic.
  Result<std::optional<KafkaTopicState>> Describe(const std::string& topic);
  // Of these, those that are there.
  Result<std::vector<KafkaTopicState>> DescribeAll(const std::vector<std::string>& topics);
  // Of all topics that this user may describe.
  Result<std::vector<std::string>> Names();
  Status Create(const KafkaTopicSpec& spec);
  // Sets these and leaves the others as they are.
  Status Alter(const std::string& topic, const std::map<std::string, std::string>& settings);
  Status Delete(const std::string& topic);
  // Everything before `offset` is gone, as retention would do it.
  Status DeleteRecords(const std::string& topic, int32_t partition, Offset offset);

 private:
  struct State;
  explicit KafkaAdmin(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
