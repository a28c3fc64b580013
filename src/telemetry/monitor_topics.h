// MonitorTopics: publishes to the topics `monitoring` and `alerts`.
//
// Nothing here may hold up counting, so what does not fit is dropped and counted. A lost monitoring
// record does no harm, because the next one follows in a second. Alerts wait, up to a bound, until
// they are acknowledged. Used by one thread, except for dropped().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/producer.h"
#include "model/types.h"

namespace sightline {

class MonitorTopics {
 public:
  // Null: the settings want neither topic. kStop: the settings are not valid.
  static Result<std::unique_ptr<MonitorTopics>> Open(const KafkaSettings& settings);

  void PublishMonitoring(const std::string& key, const std::string& value);
  void QueueAlert(std::string key, std::string value);
  // Sends the waiting alerts, unless some are already in flight, and looks for topics that did not
  // exist before. May wait up to a second for the cluster.
  void Work();
  // Waits until all alerts are acknowledged, at most for `deadline`.
  void Flush(Millis deadline);
  // The number of dropped records of both topics.
  int64_t dropped() const { return dropped_->load(); }

 private:
  struct Topic {
    std::string name;
    int32_t partitions = 0;  // 0: the topic has not been found yet
    std::string logged;      // the reason for that which was logged last
  };
  struct Record {
    std::string key, value;
  };
  enum class Sending : uint8_t { kIdle, kInFlight, kDone, kFailed };

  MonitorTopics() = default;
  void Look();
  bool Append(const Topic& topic, const std::deque<Record>& records,
              std::function<void(Status)> done);

  Topic monitoring_, alerts_;
  std::unique_ptr<KafkaAdmin> admin_;
  std::chrono::steady_clock::time_point looked_;
  std::deque<Record> waiting_;  // alerts, oldest first
  size_t sent_ = 0;             // how many of them are in flight
  // Shared with the delivery reports, which may outlive this object.
  std::shared_ptr<std::atomic<Sending>> sending_ =
      std::make_shared<std::atomic<Sending>>(Sending::kIdle);
  std::shared_ptr<std::atomic<int64_t>> dropped_ = std::make_shared<std::atomic<int64_t>>(0);
  std::unique_ptr<KafkaProducer> producer_;
};

}  // namespace sightline
