// Waits for a Kafka cluster at the start, until it answers or `give_up` returns true.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/reader.h"
#include "model/types.h"

namespace sightline {

// The timeout of each request.
constexpr Millis kKafkaAskTime{1'000};

// Logs the reason for waiting after some seconds, and then now and then.
class KafkaPatience {
 public:
  explicit KafkaPatience(std::string brokers);
  void Waiting(const Status& why);
  // What the caller returns when it gives up.
  Status GivenUp() const;

 private:
  const std::string brokers_;
  std::chrono::steady_clock::time_point log_from_;
};

// Calls `ask` until it succeeds or returns kStop, and returns its last answer. kStop: `give_up`
// returned true, or the cluster refused.
template <typename Ask>
auto WaitForKafka(const KafkaSettings& settings, const std::function<bool()>& give_up,
                  const Ask& ask) -> decltype(ask()) {
  KafkaPatience patience(settings.client.brokers);
  while (true) {
    auto answer = ask();
    if (answer.ok() || answer.status().code() == StatusCode::kStop) return answer;
    patience.Waiting(answer.status());
    if (give_up()) return patience.GivenUp();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

struct KafkaCluster {
  KafkaOptions kafka;  // with the passwords
  std::unique_ptr<KafkaAdmin> admin;
  std::string id;
};
// Waits until the cluster answers. kStop: the settings are refused, or given up.
Result<KafkaCluster> ConnectKafka(const KafkaSettings& settings,
                                  const std::function<bool()>& give_up);
// Returns kStop also if the topic does not exist.
Result<KafkaTopic> WaitForTopic(KafkaAdmin& admin, const KafkaSettings& settings,
                                const std::string& topic, const std::function<bool()>& give_up);
// The error for a topic that does not exist; it says how to create it.
Status NoTopic(const KafkaSettings& settings, const std::string& topic);

// Returns why the topic's timestamps do not tell when a record arrived. Empty: the broker sets
// them.
std::string ClockUnguarded(const KafkaTopic& topic);

}  // namespace sightline
