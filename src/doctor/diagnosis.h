// Diagnosis: what the doctor has found, and the configuration that follows from it. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sightline {

enum class Severity : uint8_t {
  kTrouble,  // with the default settings, or without a change at the sender, the counts are wrong
  kNote,     // what was seen, and what it means for the machine
};

// A line of the configuration file.
struct Setting {
  std::string key;  // as `sightline options` prints it, with its section: "pipeline.identity"
  std::string value;
  std::string why;
  bool is_suggestion = false;  // written as a comment: only a person can know whether it is right
};

struct Finding {
  Severity severity = Severity::kNote;
  std::string subject;  // a stable name, for programs: "identity"
  std::string seen;     // with numbers
  std::string follows;  // what it means, and what to do
  std::vector<std::string> examples{};
  std::vector<Setting> settings{};
};

struct Diagnosis {
  std::string sampled;  // what was looked at
  std::vector<Finding> findings;

  bool HasTrouble() const;
};

// What the source is, as far as the findings depend on it.
struct SourceFacts {
  enum class Kind : uint8_t { kFile, kTopic, kServer } kind = Kind::kFile;
  std::string name;    // of the topic
  int64_t now_ms = 0;  // the time on this machine; 0: nothing is compared with it
  std::string was_read = "All was read";  // how much of the source
  std::vector<Setting> given{};           // what the configuration needs in any case
};

// Troubles first, as text for people.
std::string FormatText(const Diagnosis& diagnosis);
// The same as one JSON object, with the configuration as its member "config".
std::string FormatJson(const Diagnosis& diagnosis, const SourceFacts& facts);
// The configuration file (TOML) of `sightline up --config`: what differs from the defaults, with
// the reasons as comments. Empty for a server, whose pipeline keeps its settings.
std::string FormatConfig(const Diagnosis& diagnosis, const SourceFacts& facts);

}  // namespace sightline
