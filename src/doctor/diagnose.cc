#include "doctor/diagnose.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>
#include <string_view>

#include "doctor/clocks.h"
#include "doctor/copies.h"
#include "doctor/load.h"
#include "doctor/wording.h"
#include "pipeline/settings_text.h"

namespace sightline {
namespace {

// What to do about malformed elements.
std::string_view AdviceOn(MalformedReason reason) {
  switch (reason) {
    case MalformedReason::kUtf16:
      return "Send UTF-8: for example `iconv -f UTF-16 -t UTF-8`.";
    case MalformedReason::kCsv:
      return "Send a JSON object for each line, with the names of docs/SEMANTICS.md.";
    case MalformedReason::kMissingField:
      return "The sender must add the field.";
    case MalformedReason::kDuplicateField:
      return "The sender must write the field once.";
    case MalformedReason::kNoTimeZone:
      return "Set pipeline.timestamp_zone, or write times with a zone.";
    case MalformedReason::kNotJson:
      return "Each is lost alone, and what follows it is counted. The sender must write JSON: "
             "whole, "
             "in UTF-8, with double quotes.";
    default:
      return "The sender must write what docs/SEMANTICS.md asks for.";
  }
}

class Doctor {
 public:
  Doctor(const Sample& sample, const SourceFacts& facts) : sample_(sample), facts_(facts) {}

  Diagnosis Diagnose() && {
    const Sample::Totals& totals = sample_.totals();
    result_.sampled = fmt::format(
        "{}: {} detections of {} cameras, {} heartbeats, {} malformed elements", facts_.was_read,
        totals.detections, sample_.cameras().size(), totals.heartbeats, totals.malformed);
    ReportLayout();
    ReportMalformed();
    ReportUnit();
    ReportIds();
    ClockFindings clocks = LookAtClocks(sample_, facts_);
    Append(std::move(clocks.findings));
    CopyFindings copies = LookAtCopies(sample_, clocks.is_wrong);
    Append(std::move(copies.findings));
    if (auto keys = LookAtKeys(sample_, facts_)) Add(*std::move(keys));
    ReportItems();
    Append(LookAtLoad(sample_, facts_, clocks.is_wrong, copies));
    return std::move(result_);
  }

 private:
  void Add(Finding finding) { result_.findings.push_back(std::move(finding)); }
  void Append(std::vector<Finding> findings) {
    std::ranges::move(findings, std::back_inserter(result_.findings));
  }

  void ReportLayout() {
    const Sample::Totals& totals = sample_.totals();
    if (totals.detections + totals.heartbeats == 0) {
      Add({.severity = Severity::kTrouble,
           .subject = "layout",
           .seen = fmt::format("no detection could be read out of {} messages ({} bytes)",
                               totals.messages, totals.bytes),
           .follows = "Nothing would be counted."});
      return;
    }
    const bool is_free = totals.indented + totals.concatenated > 0;
    Finding finding{
        .subject = "layout",
        .seen = is_free ? fmt::format("{} objects are indented, and {} follow another one on its "
                                      "line",
                                      totals.indented, totals.concatenated)
                : totals.arrays > 0 ? "JSON arrays of detections"
                                    : "NDJSON: one JSON object a line"};
    if (is_free || totals.fractions > 0)
      finding.settings = {{.key = "pipeline.decoding",
                           .value = "2",
                           .why = is_free
                                      ? "Objects are not one a line: version 1 would refuse them."
                                      : "Seconds have a fraction: version 1 would refuse them."}};
    Add(std::move(finding));
  }

  void ReportMalformed() {
    for (const auto& [key, of] : sample_.malformed()) {
      const auto& [reason, field] = key;
      Finding finding{.severity = Severity::kTrouble,
                      .subject = fmt::format("malformed.{}", ToString(reason)),
                      .seen = fmt::format("{} elements are malformed: {}{}", of.elements,
                                          ToString(reason), field.empty() ? "" : " of " + field),
                      .follows = std::string(AdviceOn(reason)),
                      .examples = of.examples};
      std::vector<std::string> cameras;
      for (const CameraId camera : of.cameras) cameras.push_back(std::to_string(camera.v));
      if (!cameras.empty()) finding.seen += ", from camera " + ListText(cameras);
      const auto nearest =
          std::ranges::max_element(of.names, {}, [](const auto& name) { return name.second; });
      if (nearest != of.names.end() && !nearest->first.empty())
        finding.follows =
            fmt::format("`{}` in {} of them may be meant: the sender must call it `{}`.",
                        nearest->first, nearest->second, field);
      Add(std::move(finding));
    }
  }

  void ReportUnit() {
    const TimeUnit unit = sample_.rules().timestamp_unit;
    const Sample::Totals& totals = sample_.totals();
    if (unit != TimeUnit::kMillis)
      Add({.severity = Severity::kTrouble,
           .subject = "timestamp_unit",
           .seen = fmt::format(
               "the times are in {}, not in ms{}", UnitName(unit),
               totals.fractions > 0 ? fmt::format("; {} have a fraction", totals.fractions) : ""),
           .follows = "Read as milliseconds, they would be of another year, or malformed.",
           .settings = {{.key = "pipeline.timestamp_unit",
                         .value = std::string(UnitName(unit)),
                         .why = "By their magnitude, the times are in this unit."}}});
    std::vector<std::string> others;
    for (const Sample::Camera& camera : sample_.cameras())
      for (const auto& [other, elements] : camera.units)
        if (other != unit)
          others.push_back(
              fmt::format("camera {} {} in {}", camera.id.v, elements, UnitName(other)));
    if (others.empty()) return;
    Add({.severity = Severity::kTrouble,
         .subject = "timestamp_unit",
         .seen = fmt::format("most times are in {}, but not those of {} cameras: {}",
                             UnitName(unit), others.size(), ListText(others)),
         .follows = "A pipeline has one unit: these cameras must send the same as the others."});
  }

  void ReportIds() {
    const Sample::Totals& totals = sample_.totals();
    if (totals.text_ids == 0) return;
    Add({.severity = Severity::kNote,
         .subject = "detection_ids",
         .seen = fmt::format("{} of {} ids are text, or numbers beyond 64 bits", totals.text_ids,
                             totals.looked_at),
         .follows =
             "Each is known by a hash of 64 bits (docs/SEMANTICS.md, \"Ids\"). A pipeline of "
             "an earlier version must be told to take them.",
         .examples = {sample_.text_id_example()},
         .settings = {{.key = "pipeline.detection_ids",
                       .value = "any",
                       .why = "There are ids that are no integers."}}});
  }

  void ReportItems() {
    std::map<std::string, std::vector<const Sample::Item*>> normalized, folded;
    for (const Sample::Item& item : sample_.items()) {
      normalized[item.normalized].push_back(&item);
      std::string lower;
      for (const char c : item.normalized)
        if (c != ' ') lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      folded[lower].push_back(&item);
    }
    std::vector<std::string> forms, spellings;
    for (const auto& [name, items] : normalized)
      if (items.size() > 1) forms.push_back(fmt::format("\"{}\" in {}", name, items.size()));
    for (const auto& [name, items] : folded) {
      std::vector<std::string> names;
      for (const Sample::Item* item : items)
        if (item->normalized == item->name || items.size() == 1)
          names.push_back(fmt::format("\"{}\" ({})", item->name, item->detections));
      if (names.size() > 1) spellings.push_back(ListText(names));
    }
    if (!forms.empty())
      Add({.severity = Severity::kTrouble,
           .subject = "item_names",
           .seen = fmt::format("{} item names come in several Unicode forms: {}", forms.size(),
                               ListText(forms)),
           .follows = "They look the same and would be counted as different items.",
           .settings = {{.key = "pipeline.item_names",
                         .value = "nfc",
                         .why = "The same names come in several Unicode forms."}}});
    if (!spellings.empty())
      Add({.subject = "item_spellings",
           .seen = fmt::format("{} item names differ only in case or spaces: {}", spellings.size(),
                               ListText(spellings)),
           .follows = "They are counted as different items. No setting changes that."});
  }

  const Sample& sample_;
  const SourceFacts& facts_;
  Diagnosis result_;
};

}  // namespace

Diagnosis Diagnose(const Sample& sample, const SourceFacts& facts) {
  return Doctor(sample, facts).Diagnose();
}

}  // namespace sightline
