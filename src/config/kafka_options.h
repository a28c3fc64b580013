// The options of `kafka.*` as the connector wants them.
#pragma once

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/options.h"

namespace sightline {

struct SinkOptions;  // engine/partition_task.h

// Reads the password files; the environment's SIGHTLINE_KAFKA_PASSWORD and
// SIGHTLINE_KAFKA_KEY_PASSWORD come first. kStop names a file that cannot be read.
Result<KafkaOptions> MakeKafkaOptions(const KafkaSettings& settings);
// After so long a silence a partition's progress is written again, well before retention takes it.
Millis ProgressRepeatInterval(const KafkaSettings& settings);
// Of the sink that publishes counts (KafkaWriter).
SinkOptions KafkaSinkOptions(const KafkaSettings& settings);

}  // namespace sightline
