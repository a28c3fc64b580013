// MonitorTopics: the topics `monitoring` and `alerts`.
//
// Nothing here may hold up counting: what does not fit is dropped and counted. A monitoring record
// that is lost is followed by the next; alerts wait, up to a bound, until they are acknowledged.
// One thread, but for dropped().
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
  // Null: the options ask for neither topic. kStop: they are refused.
  static Result<std::unique_ptr<MonitorTopics>> Open(const KafkaSettings& settings);

  void PublishMonitoring(const std::string& key, const std::string& value);
  void QueueAlert(std::string key, std::string value);
  // Sends the alerts that wait, if none are under way, and looks for topics that were not there.
  // May ask the cluster, for a second.
  void Work();
  // Until all alerts are acknowledged, for at most `deadline`.
  void Flush(Millis deadline);
  int64_t dropped() const { return dropped_->load(); }  // records, of both

 private:
  struct Topic {
    std::string name;
    int32_t partitions = 0;  // 0: not known to be there
    std::string told;        // why it is not
  };
  struct Record {
    std::string key, value;
  };
  enum class Sending : uint8_t { kIdle, kUnderWay, kDone, kFailed };

  MonitorTopics() = default;
  void Look();
  bool Append(const Topic& topic, const std::deque<Record>& records,
              std::function<void(Status)> done);

  Topic monitoring_, alerts_;
  std::unique_ptr<KafkaAdmin> admin_;
  std::chrono::steady_clock::time_point looked_;
  std::deque<Record> waiting_;  // alerts, oldest first
  size_t sent_ = 0;             // of them, under way
  // Shared: with delivery reports.
  std::shared_ptr<std::atomic<Sending>> sending_ =
      std::make_shared<std::atomic<Sending>>(Sending::kIdle);
  std::shared_ptr<std::atomic<int64_t>> dropped_ = std::make_shared<std::atomic<int64_t>>(0);
  std::unique_ptr<KafkaProducer> producer_;
};

}  // namespace sightline
