#include "processes/partition_task_builder.h"

#include <algorithm>
#include <random>
#include <utility>

#include "engine/pipeline_settings.h"
#include "processes/process.h"

namespace sightline {
namespace {

// Checkpoints name sinks: these names stay.
constexpr const char* kPending = "pending";
constexpr const char* kLakeCounts = "lake counts";
constexpr const char* kLakeLedger = "lake ledger";

Result<std::unique_ptr<CheckpointPlace>> Open(const std::string& url, const Settings& settings) {
  return CheckpointPlace::Open({url, {.hdfs = settings.hdfs, .s3 = settings.s3}, settings.data});
}

}  // namespace

Result<Settings> WithStoredRules(Settings settings, const std::string& checkpoints) {
  const auto place = Open(checkpoints, settings);
  if (!place.ok()) return place.status();
  RETURN_IF_ERROR(place.value()->WithSettings(StopAsked, [&](SettingsStore& store) {
    return AdoptStoredRules(store, settings.chosen_rules, &settings.pipeline);
  }));
  return settings;
}

Status PartitionTaskBuilder::ClaimSettings(bool has_counted) {
  auto place = Open(checkpoints_, settings_);
  if (!place.ok()) return place.status();
  place_ = std::move(place).value();
  return place_->WithSettings(StopAsked, [&](SettingsStore& store) {
    if (has_counted) RETURN_IF_ERROR(RequireKnownRules(store, settings_.chosen_rules));
    return ClaimPipelineSettings(settings_.pipeline, store);
  });
}

void PartitionTaskBuilder::AddSink(SinkOptions options, OpenSink open) {
  sinks_.push_back(std::move(options));
  open_sinks_.push_back(std::move(open));
}

void PartitionTaskBuilder::AddPending(LakeService& lake) {
  AddSink({.name = kPending, .may_be_new = true},
          [&lake](const std::function<void()>&) { return lake.OpenPendingSink(); });
}

void PartitionTaskBuilder::AddLake(LakeService& lake) {
  SinkOptions options{
      .name = kLakeCounts, .together = true, .may_be_new = true, .interval_ms_now = [&lake] {
        return lake.roll_interval().v;
      }};
  AddSink(options,
          [&lake](std::function<void()> wake) { return lake.OpenCountsSink(std::move(wake)); });
  options.name = kLakeLedger;
  AddSink(options,
          [&lake](std::function<void()> wake) { return lake.OpenLedgerSink(std::move(wake)); });
}

void PartitionTaskBuilder::LakeIsOff() {
  for (const char* const name : {kPending, kLakeCounts, kLakeLedger}) SinkIsOff(name);
}

Result<std::unique_ptr<PartitionTask>> PartitionTaskBuilder::Build(const SourcePartition& partition,
                                                                   std::unique_ptr<Source> source,
                                                                   int64_t partitions,
                                                                   const Wake& wake) const {
  if (source == nullptr) return Status::Retry("its topic is gone");
  TaskPorts ports;
  ports.source = std::move(source);
  for (size_t sink = 0; sink < open_sinks_.size(); ++sink)
    ports.sinks.push_back(open_sinks_[sink]([wake, sink] { wake(PartitionTask::SinkPort(sink)); }));
  ports.store = place_->OpenWorker([wake] { wake(PartitionTask::kStorePort); });
  TaskOptions task;
  task.sinks = sinks_;
  task.sinks_off = sinks_off_;
  task.on_gap = settings_.engine.on_gap;
  task.hash_seed = std::random_device()() | uint64_t{std::random_device()()} << 32;
  task.checkpoint_interval_ms = settings_.engine.checkpoint_interval.v;
  partitions = std::max<int64_t>(1, partitions);
  task.sealed_bytes_max = settings_.engine.pending_max / partitions;
  task.spill_bytes_max = settings_.engine.spill_max / partitions;
  return std::make_unique<PartitionTask>(partition, settings_.pipeline, std::move(task),
                                         std::move(ports));
}

}  // namespace sightline
