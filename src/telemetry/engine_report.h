// What /healthz, /readyz and /metrics of every process that counts report about its engine.
#pragma once

#include <vector>

#include "base/metric.h"
#include "connectors/kafka/writer.h"
#include "engine/runtime.h"

namespace sightline {

// Returns whether the partitions are of more than one topic. If so, a partition's number alone does
// not identify it.
bool SeveralTopics(const std::vector<PartitionHealth>& partitions);
// Adds what is wrong to `health`. `late`: the start should be over, so a partition that is still
// starting is reported, too.
void ReportEngineHealth(const std::vector<PartitionHealth>& partitions, bool late, Health& health);
// Sets `ready` to not ok while a partition does not run.
void ReportEngineReadiness(const std::vector<PartitionHealth>& partitions, Health& ready);
void CollectEngineMetrics(const std::vector<PartitionHealth>& partitions,
                          std::vector<Metric>& metrics);
void CollectKafkaMetrics(const KafkaWriterStats& stats, std::vector<Metric>& metrics);

}  // namespace sightline
