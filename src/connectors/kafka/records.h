// The keys and values of the topics that Sightline writes: JSON, documented in docs/KAFKA.md.
//
// Keys are byte for byte the same for the same thing, since compaction goes by them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline::kafka {

struct Message {
  std::string topic;
  std::string key, value;
  std::vector<std::pair<std::string, std::string>> headers;
};

// What every value of a pipeline says of it.
struct Provenance {
  SourcePartition from;
  std::string spec_id;
};

// Of one cell of counts: the running total of the offsets [first, next).
std::string CountKeyJson(const SourcePartition& from, Offset first, const CountKey& key,
                         Millis pane_size);
struct LocationName {
  std::string name;     // empty: not known
  int64_t version = 0;  // of the location table
};
// `location`: null in topics without names.
std::string CountValueJson(const Provenance& provenance, Offset first, Offset next,
                           const CountRow& row, Millis pane_size, const LocationName* location);

// The progress of one source partition: everything before `next` is in the topic.
struct Progress {
  Offset next;
  Watermark watermark = kBeforeAllTime;
  Ledger ledger;  // of everything before `next`
  friend bool operator==(const Progress&, const Progress&) = default;
};
std::string ProgressKeyJson(const SourcePartition& from);
std::string ProgressValueJson(const Provenance& provenance, const Progress& progress);
// kStop if it is no such value, or of a version that this program does not know.
Result<Progress> ParseProgress(std::string_view value);

// A value of a counts topic: a cell's running total, or a progress.
struct CountsRecord {
  SourcePartition from;
  Offset first;  // of a total: where its group began
  Offset next;
  std::optional<CountRow> total;
  std::optional<Progress> progress;  // the other one
};
Result<CountsRecord> ParseCountsRecord(std::string_view value);

// The event's own bytes, with the reason in headers, as dead letters are written by others.
Message SetAsideMessage(const std::string& topic, const SourcePartition& from,
                        const SetAside& event);

}  // namespace sightline::kafka
