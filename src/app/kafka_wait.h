// Waiting for a Kafka cluster at the start: said once, until `give_up` says true.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "app/options.h"
#include "base/status.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/reader.h"
#include "model/types.h"

namespace sightline {

// Of each question.
constexpr Millis kKafkaAskTime{1'000};

// kStop: given up, or refused.
Result<std::string> WaitForCluster(KafkaAdmin& admin, const UpOptions& options,
                                   const std::function<bool()>& give_up);
// None: there is no such topic.
Result<std::optional<KafkaTopicState>> WaitForTopicState(KafkaAdmin& admin,
                                                         const UpOptions& options,
                                                         const std::string& topic,
                                                         const std::function<bool()>& give_up);
// kStop also if there is no such topic.
Result<KafkaTopic> WaitForTopic(KafkaAdmin& admin, const UpOptions& options,
                                const std::string& topic, const std::function<bool()>& give_up);

// Why nobody knows when a record of the topic came; empty: the broker stamps it.
std::string ClockUnguarded(const KafkaTopic& topic);

}  // namespace sightline
