#include "engine/pipeline_settings.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/mutant.h"
#include "engine/checkpoint.h"
#include "operators/count_operator.h"
#include "pipeline/settings_text.h"

namespace sightline {
namespace {

constexpr std::string_view kWay =
    "Restore the settings. To count by other settings, begin a new pipeline with a data folder and "
    "a deployment of its own; `sightline handover` takes over what was counted until then.";

Status Refused(const Status& why) {
  if (why.code() != StatusCode::kStop) return why;
  return Status::Stop(
      fmt::format("this pipeline counts by other settings:\n  {}\n{}", why.message(), kWay));
}

// Folders of earlier versions have no settings, but each checkpoint has their fingerprint.
Status CheckCheckpoints(const PipelineSpec& spec, SettingsStore& store) {
  if (Mutated(Mutant::kAdoptAnySettings)) return Status::Ok();
  const Result<std::vector<SourcePartition>> partitions = store.Partitions();
  if (!partitions.ok()) return partitions.status();
  for (const SourcePartition& partition : partitions.value()) {
    const Result<std::optional<std::string>> bytes = store.NewestCheckpoint(partition);
    if (!bytes.ok()) return bytes.status();
    if (!bytes.value()) continue;
    const Result<Checkpoint> checkpoint = ReadCheckpoint(*bytes.value());
    // A damaged one stops its partition alone, as ever.
    if (!checkpoint.ok()) continue;
    const Status fits = CountOperator::CheckSettings(spec, checkpoint.value().state);
    if (!fits.ok())
      return Status::Stop(fmt::format("the checkpoint of '{}' partition {}: {}", partition.source,
                                      partition.partition, fits.message()));
  }
  return Status::Ok();
}

// Whether nothing of the pipeline is stored: neither its settings nor an entry of a partition.
Result<bool> IsNew(SettingsStore& store) {
  const Result<std::optional<std::string>> stored = store.Settings();
  if (!stored.ok()) return stored.status();
  if (stored.value()) return false;
  const Result<std::vector<SourcePartition>> partitions = store.Partitions();
  if (!partitions.ok()) return partitions.status();
  return partitions.value().empty();
}

}  // namespace

Status AdoptStoredRules(SettingsStore& store, const ChosenRules& chosen, PipelineSpec* spec) {
  const Result<bool> is_new = IsNew(store);
  if (!is_new.ok() || is_new.value()) return is_new.status();
  const Result<std::optional<std::string>> stored = store.Settings();
  if (!stored.ok()) return stored.status();
  PipelineSpec older = *spec;
  TakeStoredRules(stored.value().value_or(""), chosen, &older.decode);
  // Settings that are gone leave the fingerprint of the checkpoints: of an older version, unless it
  // is that of the newest.
  if (stored.value() || !CheckCheckpoints(*spec, store).ok()) *spec = std::move(older);
  return Status::Ok();
}

Status RequireKnownRules(SettingsStore& store, const ChosenRules& chosen) {
  if (chosen.detection_ids && chosen.decoding) return Status::Ok();
  const Result<bool> is_new = IsNew(store);
  if (!is_new.ok() || !is_new.value()) return is_new.status();
  return Status::Stop(
      "this pipeline has counted before, but its checkpoints are gone, and with them the rules by "
      "which it reads messages: put pipeline.settings back beside them, or give "
      "pipeline.detection_ids and pipeline.decoding (any and 2, or integer and 1 if the folder was "
      "made before there were such options)");
}

Status ClaimPipelineSettings(const PipelineSpec& spec, SettingsStore& store) {
  if (Mutated(Mutant::kAnySettings)) return Status::Ok();
  Result<std::optional<std::string>> stored = store.Settings();
  if (!stored.ok()) return stored.status();
  if (!stored.value()) {
    if (const Status fits = CheckCheckpoints(spec, store); !fits.ok()) return Refused(fits);
    RETURN_IF_ERROR(store.PutSettingsIfAbsent(SettingsText(spec)));
    stored = store.Settings();
    if (!stored.ok()) return stored.status();
    if (!stored.value()) return Status::Retry("the settings of the pipeline were just removed");
  }
  if (const Status same = CompareSettings(*stored.value(), spec); !same.ok()) return Refused(same);
  return Status::Ok();
}

}  // namespace sightline
