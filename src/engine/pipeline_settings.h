// The settings that a pipeline is counted by are its own: no start may change them.
#pragma once

#include "base/status.h"
#include "engine/settings_store.h"
#include "pipeline/spec.h"

namespace sightline {

// Call it before any partition starts: a partition without a checkpoint would otherwise begin to
// count by other settings than those that have one. Stores the settings of `spec` where none are
// stored yet, provided that every checkpoint was written under them. kStop: the pipeline counts by
// other settings; the message names each difference and what to do.
Status ClaimPipelineSettings(const PipelineSpec& spec, SettingsStore& store);

// Call it before anything else is made from `spec`: gives it the rules of decoding that nobody has
// chosen. They are those of the pipeline in `store`; a pipeline that is new there keeps the newest.
Status AdoptStoredRules(SettingsStore& store, const ChosenRules& chosen, PipelineSpec* spec);

// Call it before ClaimPipelineSettings() for a pipeline that has counted before. kStop: neither the
// store nor anybody's choice tells by which rules.
Status RequireKnownRules(SettingsStore& store, const ChosenRules& chosen);

}  // namespace sightline
