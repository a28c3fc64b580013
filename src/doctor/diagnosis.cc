#include "doctor/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <string_view>

#include "doctor/wording.h"

namespace sightline {
namespace {

constexpr size_t kProseColumns = 96;

std::string_view ToString(Severity severity) {
  return severity == Severity::kTrouble ? "trouble" : "note";
}

// Breaks `text` between words into lines that begin with `prefix`.
std::string Wrapped(std::string_view text, std::string_view prefix) {
  std::string lines, line(prefix);
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.size() > prefix.size() && line.size() + word.size() > kProseColumns) {
      lines += line + "\n";
      line = prefix;
    }
    if (line.size() > prefix.size()) line += ' ';
    line += word;
  }
  return lines + line + "\n";
}

// A basic string of TOML.
std::string Quoted(std::string_view value) {
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

std::string LineOf(const Setting& setting) {
  const size_t dot = setting.key.find('.');
  const std::string name = dot == std::string::npos ? setting.key : setting.key.substr(dot + 1);
  return fmt::format("{}{} = {}\n", setting.is_suggestion ? "# " : "", name, Quoted(setting.value));
}

std::string SectionOf(const Setting& setting) {
  const size_t dot = setting.key.find('.');
  return dot == std::string::npos ? "" : setting.key.substr(0, dot);
}

}  // namespace

bool Diagnosis::HasTrouble() const {
  return std::ranges::any_of(findings,
                             [](const Finding& f) { return f.severity == Severity::kTrouble; });
}

std::string FormatText(const Diagnosis& diagnosis) {
  std::string text = diagnosis.sampled + "\n";
  for (const Severity severity : {Severity::kTrouble, Severity::kNote})
    for (const Finding& finding : diagnosis.findings) {
      if (finding.severity != severity) continue;
      text += fmt::format("\n{}: {}\n", ToString(severity), finding.subject);
      // Names of items and fields may hold anything.
      text += Wrapped(PrintableText(finding.seen), "  ");
      for (const std::string& example : finding.examples)
        text += "    " + PrintableText(example) + "\n";
      if (!finding.follows.empty()) text += Wrapped(PrintableText(finding.follows), "  ");
      for (const Setting& setting : finding.settings)
        text += fmt::format("  -> {} = {}{}\n", setting.key, setting.value,
                            setting.is_suggestion ? "  (if that is so)" : "");
    }
  if (!diagnosis.HasTrouble()) text += "\nno trouble was found\n";
  return text;
}

std::string FormatConfig(const Diagnosis& diagnosis, const SourceFacts& facts) {
  if (facts.kind == SourceFacts::Kind::kServer) return "";
  // The keys without a section come first, as TOML wants it.
  std::map<std::string, std::vector<const Setting*>> sections;
  for (const Setting& setting : facts.given) sections[SectionOf(setting)].push_back(&setting);
  for (const Finding& finding : diagnosis.findings)
    for (const Setting& setting : finding.settings)
      sections[SectionOf(setting)].push_back(&setting);
  std::string config = Wrapped(
      "Written by `sightline doctor`: what differs from the defaults, and why. `sightline options` "
      "prints all options.",
      "# ");
  config = Wrapped(diagnosis.sampled, "# ") + config;
  for (const auto& [section, settings] : sections) {
    if (!section.empty()) config += fmt::format("\n[{}]\n", section);
    for (const Setting* setting : settings)
      config += (setting->why.empty() ? "" : Wrapped(setting->why, "# ")) + LineOf(*setting);
  }
  if (sections.empty()) config += "# Nothing: the defaults fit.\n";
  return config;
}

std::string FormatJson(const Diagnosis& diagnosis, const SourceFacts& facts) {
  namespace json = boost::json;
  json::array findings;
  for (const Finding& finding : diagnosis.findings) {
    json::object settings;
    json::object suggestions;
    for (const Setting& setting : finding.settings)
      (setting.is_suggestion ? suggestions : settings)[setting.key] = setting.value;
    findings.push_back(json::object{{"severity", ToString(finding.severity)},
                                    {"subject", finding.subject},
                                    {"seen", finding.seen},
                                    {"follows", finding.follows},
                                    {"examples", json::value_from(finding.examples)},
                                    {"settings", std::move(settings)},
                                    {"suggestions", std::move(suggestions)}});
  }
  return json::serialize(json::object{{"sampled", diagnosis.sampled},
                                      {"trouble", diagnosis.HasTrouble()},
                                      {"findings", std::move(findings)},
                                      {"config", FormatConfig(diagnosis, facts)}}) +
         "\n";
}

}  // namespace sightline
