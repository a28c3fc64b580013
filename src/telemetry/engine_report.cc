#include "telemetry/engine_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "connectors/kafka/reader.h"

namespace sightline {

bool SeveralTopics(const std::vector<PartitionHealth>& partitions) {
  return std::ranges::any_of(partitions, [&](const PartitionHealth& partition) {
    return partition.partition.source != partitions.front().partition.source;
  });
}

namespace {

// So many puts of a checkpoint fail in about a second (engine/backoff.h).
constexpr int64_t kCheckpointFailures = 10;

std::string NameOf(const SourcePartition& partition, bool several) {
  return several ? fmt::format("partition {} of topic '{}'", partition.partition,
                               TopicOfSource(partition.source))
                 : fmt::format("partition {}", partition.partition);
}

}  // namespace

void ReportEngineHealth(const std::vector<PartitionHealth>& partitions, bool late, Health& health) {
  const auto broken = [&health](std::string reason) {
    health.ok = false;
    health.reasons.push_back(std::move(reason));
  };
  const bool several = SeveralTopics(partitions);
  for (const PartitionHealth& partition : partitions) {
    const std::string name = NameOf(partition.partition, several);
    if (partition.health == TaskHealth::kStopped)
      broken(fmt::format("{} is stopped: {}", name, partition.reason));
    if (partition.health == TaskHealth::kStarting && late && !partition.reason.empty())
      broken(fmt::format("{} cannot start: {}", name, partition.reason));
    if (partition.health == TaskHealth::kRunning && partition.task.full)
      broken(
          fmt::format("{} does not count: what its sinks have not taken fills engine.pending_max "
                      "and engine.spill_max",
                      name));
    if (partition.health == TaskHealth::kRunning &&
        partition.task.checkpoint_failures >= kCheckpointFailures)
      broken(fmt::format("{} cannot put a checkpoint, so a restart would count much again: {}",
                         name, partition.task.checkpoint_trouble));
    const Gap& gap = partition.task.gap;
    if (partition.task.degraded && gap.empty())
      health.reasons.push_back(
          fmt::format("{} is degraded: it started without its memory of earlier detections", name));
    if (partition.task.degraded && !gap.empty())
      health.reasons.push_back(
          fmt::format("{} is degraded: retention had removed the offsets [{}, {}) before they were "
                      "counted",
                      name, gap.first.v, gap.next.v));
  }
}

void ReportEngineReadiness(const std::vector<PartitionHealth>& partitions, Health& ready) {
  const bool several = SeveralTopics(partitions);
  for (const PartitionHealth& partition : partitions) {
    if (partition.health == TaskHealth::kRunning) continue;
    ready.ok = false;
    ready.reasons.push_back(fmt::format("{} does not run: {}", NameOf(partition.partition, several),
                                        partition.reason.empty() ? "it starts" : partition.reason));
  }
}

void CollectEngineMetrics(const std::vector<PartitionHealth>& partitions,
                          std::vector<Metric>& metrics) {
  const bool several = SeveralTopics(partitions);
  for (const PartitionHealth& partition : partitions) {
    const TaskStatus& task = partition.task;
    std::vector<std::pair<std::string, std::string>> labels = {
        {"partition", fmt::format("{}", partition.partition.partition)}};
    if (several) labels.emplace_back("topic", TopicOfSource(partition.partition.source));
    auto add = [&](const char* name, const char* help, Metric::Type type, int64_t value) {
      metrics.push_back({.name = name,
                         .help = help,
                         .type = type,
                         .labels = labels,
                         .value = static_cast<double>(value)});
    };
    using enum Metric::Type;
    add("sightline_engine_offset", "The next raw offset to read.", kGauge, task.position.v);
    add("sightline_engine_checkpoint_offset", "The offset from which a restart replays.", kGauge,
        task.checkpointed.v);
    add("sightline_engine_watermark_ms", "The partition's watermark, in Unix milliseconds.", kGauge,
        task.watermark.v);
    add("sightline_engine_remembered_ids", "The number of remembered detections.", kGauge,
        task.remembered_ids);
    add("sightline_engine_cameras", "The number of cameras seen.", kGauge, task.cameras);
    add("sightline_engine_clock_jumps_total",
        "The number of times that a camera's time went back by more than pipeline.dedup_horizon, "
        "in "
        "records without append time, since the task was built. Counted with "
        "pipeline.watermark_step = bounded.",
        kCounter, task.clock_jumps.count);
    add("sightline_engine_sealed_segments",
        "The number of segments in memory that a sink has not yet committed.", kGauge,
        task.sealed_segments);
    add("sightline_engine_sealed_bytes",
        "The memory of the segments that a sink has not yet committed.", kGauge, task.sealed_bytes);
    add("sightline_engine_spill_bytes",
        "The disk space of the spilled counts that a sink has not yet committed.", kGauge,
        task.spilled_bytes);
    add("sightline_engine_spill_runs", "The number of files of spilled counts.", kGauge,
        task.spilled_runs);
    add("sightline_engine_records_total", "The number of records read since the task was built.",
        kCounter, task.records);
    add("sightline_engine_read_again_total",
        "The number of offsets that were read again when the task was built, because an output had "
        "them and the checkpoint did not.",
        kCounter, task.read_again);
    add("sightline_engine_lost_offsets_total",
        "The number of offsets that retention removed before they were counted, since the task was "
        "built.",
        kCounter, task.lost);
    add("sightline_engine_held_up_total",
        "The number of times that counting waited for the slowest sink.", kCounter, task.held_up);
    add("sightline_engine_checkpoints_total", "The number of checkpoints written.", kCounter,
        task.checkpoints);
    add("sightline_engine_retries_total",
        "The number of calls of the source and the checkpoint store that have to be tried again.",
        kCounter, task.retries);
    add("sightline_engine_rebuilds_total",
        "The number of times that the task was discarded and built again.", kCounter,
        partition.rebuilds);
    add("sightline_engine_stopped",
        "1 if the partition is stopped and waits for a person, otherwise 0.", kGauge,
        partition.health == TaskHealth::kStopped);
  }
}

void CollectKafkaMetrics(const KafkaWriterStats& stats, std::vector<Metric>& metrics) {
  auto add = [&](const char* name, const char* help, int64_t value) {
    metrics.push_back({.name = name, .help = help, .value = static_cast<double>(value)});
  };
  add("sightline_kafka_commits_total", "The number of transactions committed.", stats.commits);
  add("sightline_kafka_messages_total", "The number of messages written in committed transactions.",
      stats.messages);
  metrics.push_back(
      {.name = "sightline_kafka_commit_seconds_total",
       .help =
           "The time spent in transactions, each from its first message to the broker's answer.",
       .value = static_cast<double>(stats.commit_microseconds) / 1e6});
  add("sightline_kafka_commits_failed_total",
      "The number of failed commits, after each of which the task was built again.",
      stats.failures);
}

}  // namespace sightline
