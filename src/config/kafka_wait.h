// Waiting for a Kafka cluster at the start: said once, until `give_up` says true.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/reader.h"
#include "model/types.h"

namespace sightline {

// Of each question.
constexpr Millis kKafkaAskTime{1'000};

// Says why it waits, after some seconds and then once in a while.
class KafkaPatience {
 public:
  explicit KafkaPatience(std::string brokers);
  void Waiting(const Status& why);
  // Given up.
  Status GivenUp() const;

 private:
  const std::string brokers_;
  std::chrono::steady_clock::time_point tell_from_;
};

// `ask` again and again until there is an answer or a reason to stop; its last answer. kStop: given
// up, or refused.
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

Result<std::string> WaitForCluster(KafkaAdmin& admin, const KafkaSettings& settings,
                                   const std::function<bool()>& give_up);
// kStop also if there is no such topic.
Result<KafkaTopic> WaitForTopic(KafkaAdmin& admin, const KafkaSettings& settings,
                                const std::string& topic, const std::function<bool()>& give_up);
// What to do where there is no such topic.
Status NoTopic(const KafkaSettings& settings, const std::string& topic);

// Why nobody knows when a record of the topic came; empty: the broker stamps it.
std::string ClockUnguarded(const KafkaTopic& topic);

}  // namespace sightline
