#include "pipeline/settings_text.h"

#include <fmt/format.h>

#include <map>
#include <vector>

namespace sightline {
namespace {

constexpr std::string_view kDetectionIds = "pipeline.detection_ids",
                           kDecoding = "pipeline.decoding";

std::string Milliseconds(Millis length) { return fmt::format("{} ms", length.v); }

// Names and values as the options have them.
struct Line {
  std::string_view name;
  std::string value;
  std::string unwritten{};  // the default of a setting that a later version added
};

std::vector<Line> Lines(const PipelineSpec& spec) {
  return {
      {"pipeline.timestamp_unit", std::string(UnitName(spec.decode.timestamp_unit))},
      {"pipeline.identity",
       spec.identity == Identity::kDetection ? "detection" : "camera_and_detection"},
      {"pipeline.window_size", Milliseconds(spec.window_size)},
      {"pipeline.pane_size", Milliseconds(spec.pane_size)},
      {"pipeline.out_of_orderness", Milliseconds(spec.out_of_orderness)},
      {"pipeline.dedup_horizon", Milliseconds(spec.dedup_horizon)},
      {"pipeline.future_tolerance", Milliseconds(spec.future_tolerance)},
      {"pipeline.max_age", spec.max_age ? Milliseconds(*spec.max_age) : "off"},
      {"pipeline.camera_ttl", Milliseconds(spec.camera_ttl)},
      {"pipeline.watermark_step",
       spec.watermark_step == WatermarkStep::kBounded ? "bounded" : "free", "free"},
      {kDetectionIds, spec.decode.detection_ids == DetectionIds::kAny ? "any" : "integer",
       "integer"},
      {kDecoding, fmt::format("{}", int(spec.decode.version)), "1"},
      {"pipeline.item_names", spec.decode.item_names == ItemNames::kNfc ? "nfc" : "as_sent",
       "as_sent"},
      // No name of a zone is "none"; an empty value would read like a damaged text.
      {"pipeline.timestamp_zone",
       spec.decode.timestamp_zone.empty() ? "none" : spec.decode.timestamp_zone, "none"},
  };
}

// The values by name. A text that was cut off, or a line without a value, is not ok.
struct Parsed {
  std::map<std::string, std::string, std::less<>> values;
  bool ok = true;
};

Parsed Parse(std::string_view text) {
  constexpr std::string_view kIs = " = ";
  Parsed parsed;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {.values = {}, .ok = false};  // it was cut off
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.starts_with('#')) continue;
    const size_t is = line.find(kIs);
    if (is == std::string_view::npos) return {.values = {}, .ok = false};
    parsed.values.emplace(line.substr(0, is), line.substr(is + kIs.size()));
  }
  return parsed;
}

}  // namespace

std::string_view UnitName(TimeUnit unit) {
  switch (unit) {
    case TimeUnit::kSeconds:
      return "s";
    case TimeUnit::kMillis:
      return "ms";
    case TimeUnit::kMicros:
      return "us";
    case TimeUnit::kNanos:
      return "ns";
  }
  return "";
}

void TakeStoredRules(std::string_view stored, const ChosenRules& chosen, DecodeRules* rules) {
  const Parsed parsed = Parse(stored);
  const auto is = [&](std::string_view name, std::string_view value) {
    const auto found = parsed.values.find(name);
    return found != parsed.values.end() && found->second == value;
  };
  if (!chosen.detection_ids)
    rules->detection_ids = is(kDetectionIds, "any") ? DetectionIds::kAny : DetectionIds::kInteger;
  if (!chosen.decoding) rules->version = is(kDecoding, "2") ? Decoding::kSecond : Decoding::kFirst;
}

std::string SettingsText(const PipelineSpec& spec) {
  std::string text =
      "# The settings that this pipeline counts by. Sightline compares them at each start.\n";
  for (const Line& line : Lines(spec))
    if (line.value != line.unwritten) text += fmt::format("{} = {}\n", line.name, line.value);
  return text;
}

Status CompareSettings(std::string_view stored, const PipelineSpec& spec) {
  Parsed parsed = Parse(stored);
  std::vector<std::string> differences;
  for (const Line& line : Lines(spec)) {
    const auto found = parsed.values.extract(std::string(line.name));
    const std::string was = found.empty() ? line.unwritten : found.mapped();
    if (was.empty()) {
      parsed.ok = false;
    } else if (was != line.value) {
      differences.push_back(fmt::format("{} was {} and is {} now", line.name, was, line.value));
    }
  }
  if (!parsed.ok) return Status::Stop("the stored settings of the pipeline are damaged");
  for (const auto& [name, value] : parsed.values)
    differences.push_back(
        fmt::format("{} is {}, and this version of sightline does not know that setting: run the "
                    "version that wrote it",
                    name, value));
  if (differences.empty()) return Status::Ok();
  return Status::Stop(fmt::format("{}", fmt::join(differences, "\n  ")));
}

}  // namespace sightline
