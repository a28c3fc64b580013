// The settings of a pipeline as text, one `name = value` a line: what is stored beside the
// checkpoints, and what an error shows.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "pipeline/spec.h"

namespace sightline {

// The settings by which events are decided and counted: those of Fingerprint(), without the range
// [count_from, count_until), which has its own rule (docs/SEMANTICS.md). A setting that a later
// version adds is written only if it is not at its default, so that older folders stay valid.
std::string SettingsText(const PipelineSpec& spec);

// kOk: `stored`, which SettingsText() wrote, is the settings of `spec`. Otherwise kStop: a line for
// each setting that differs, with both values. Also kStop if the text is damaged, or has a setting
// that this version does not know.
Status CompareSettings(std::string_view stored, const PipelineSpec& spec);

// As the option pipeline.timestamp_unit has it: s, ms, us or ns.
std::string_view UnitName(TimeUnit unit);

// Sets the rules that nobody has chosen to those of `stored`: the oldest where it has none.
void TakeStoredRules(std::string_view stored, const ChosenRules& chosen, DecodeRules* rules);

}  // namespace sightline
