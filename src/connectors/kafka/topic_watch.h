// TopicWatch: whether the topics that a process reads are still those that it began with, and
// whether the cluster answers. One thread asks; trouble() is for any.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/reader.h"

namespace sightline {

class TopicWatch {
 public:
  TopicWatch(std::unique_ptr<KafkaAdmin> admin, std::vector<KafkaTopic> topics)
      : admin_(std::move(admin)), topics_(std::move(topics)) {}

  // Asks, if the last time is some seconds ago. kStop: a topic was deleted and made again, so that
  // this process must begin anew.
  Status Look();
  // Why the cluster or a topic is not there now; empty: all is well.
  std::string trouble() const;

 private:
  Status Ask(std::string& trouble);

  const std::unique_ptr<KafkaAdmin> admin_;
  const std::vector<KafkaTopic> topics_;
  std::chrono::steady_clock::time_point asked_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::string trouble_;  // under mutex_
};

}  // namespace sightline
