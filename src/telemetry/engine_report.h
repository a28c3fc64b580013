// What every process that counts says of its engine: /healthz and /metrics.
#pragma once

#include <vector>

#include "base/metric.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"

namespace sightline {

// They read from more than one topic: the number of a partition does not say which it is.
bool SeveralTopics(const std::vector<PartitionHealth>& partitions);
// `late`: the start is over, so that a partition that still starts is told.
void ReportEngineHealth(const std::vector<PartitionHealth>& partitions, bool late, Health& health);
// Not ok while a partition does not run.
void ReportEngineReadiness(const std::vector<PartitionHealth>& partitions, Health& ready);
void CollectEngineMetrics(const std::vector<PartitionHealth>& partitions,
                          std::vector<Metric>& metrics);
void CollectKafkaMetrics(const KafkaWriterStats& stats, std::vector<Metric>& metrics);

}  // namespace sightline
