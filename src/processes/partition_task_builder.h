// PartitionTaskBuilder: builds the tasks of a process's partitions, all with the same sinks.
//
// AddSink() and AddLake() are called at the start, by one thread. After that Build() and sinks()
// are thread-safe: the engine's threads call Build(), the monitor's thread reads sinks().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/options.h"
#include "connectors/checkpoint_files/checkpoint_place.h"
#include "engine/partition_task.h"
#include "engine/sink.h"
#include "engine/source.h"
#include "history/lake_service.h"
#include "model/types.h"

namespace sightline {

// The settings of a process that counts, with the rules of the pipeline whose checkpoints are at
// the URL (AdoptStoredRules). Call it before anything is made from the settings.
Result<Settings> WithStoredRules(Settings settings, const std::string& checkpoints);

class PartitionTaskBuilder {
 public:
  // Wakes a task, for the ports that call it.
  using Wake = std::function<void(PartitionTask::PortSet)>;
  // Opens the sink of one task. `wake` wakes that task.
  using OpenSink = std::function<std::unique_ptr<Sink>(std::function<void()> wake)>;

  // `checkpoints`: a URL that is shared by all processes that count these partitions.
  PartitionTaskBuilder(const Settings& settings, std::string checkpoints)
      : settings_(settings), checkpoints_(std::move(checkpoints)) {}

  // Call it before any partition starts; from then on, the checkpoints' folder is held. kStop:
  // their pipeline counts by other settings, or has lost them although it `has_counted`.
  Status ClaimSettings(bool has_counted);
  // A task offers its segments to the sinks in the order of these calls.
  void AddSink(SinkOptions options, OpenSink open);
  // Names a sink that was there and is switched off (TaskOptions::sinks_off).
  void SinkIsOff(std::string name) { sinks_off_.push_back(std::move(name)); }
  // Adds what is pending, if it is shown, and the two tables of the lake. `lake` must outlive the
  // tasks. The tables come behind all sinks that are added before.
  void AddPending(LakeService& lake);
  void AddLake(LakeService& lake);
  // Instead of these: there was a lake, and it is switched off.
  void LakeIsOff();
  const std::vector<SinkOptions>& sinks() const { return sinks_; }

  // `partitions` share the limits of memory and disk. kRetry: `source` is null, because its topic
  // no longer exists.
  Result<std::unique_ptr<PartitionTask>> Build(const SourcePartition& partition,
                                               std::unique_ptr<Source> source, int64_t partitions,
                                               const Wake& wake) const;

 private:
  const Settings settings_;
  const std::string checkpoints_;
  std::unique_ptr<CheckpointPlace> place_;  // outlives the tasks
  std::vector<SinkOptions> sinks_;
  std::vector<std::string> sinks_off_;
  std::vector<OpenSink> open_sinks_;  // one for each of sinks_
};

}  // namespace sightline
