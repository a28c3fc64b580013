// Turns the settings of `kafka.*` into the options of the connector.
#pragma once

#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/options.h"

namespace sightline {

struct SinkOptions;  // engine/partition_task.h

// Reads the password files. The variables SIGHTLINE_KAFKA_PASSWORD and SIGHTLINE_KAFKA_KEY_PASSWORD
// of the environment override them. kStop names a file that cannot be read.
Result<KafkaOptions> MakeKafkaOptions(const KafkaSettings& settings);
// Returns the silence after which a partition's progress is written again. It is much shorter than
// the retention that would remove the progress record.
Millis ProgressRepeatInterval(const KafkaSettings& settings);
// Returns the options of the sink that publishes counts (KafkaWriter).
SinkOptions KafkaSinkOptions(const KafkaSettings& settings);

}  // namespace sightline
