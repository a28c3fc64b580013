// The keys and values of the topics that Sightline writes: JSON, documented in docs/KAFKA.md.
//
// Keys are byte for byte the same for the same thing, since compaction goes by them.
#pragma once

#include <map>
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

// Of one row of the ledger, under the same rule: the running total of the offsets [first, next).
std::string LedgerKeyJson(const SourcePartition& from, Offset first, const LedgerKey& key);
std::string LedgerValueJson(const Provenance& provenance, Offset first, Offset next,
                            const LedgerRow& row);

// The progress of one source partition: everything before `next` is in the topic.
struct Progress {
  Offset next;
  Watermark watermark = kBeforeAllTime;
  Ledger ledger;  // of everything before `next`
  friend bool operator==(const Progress&, const Progress&) = default;
};
std::string ProgressKeyJson(const SourcePartition& from);
// Whether a record with `key` - of a total, the ledger or the progress - is of the partition that
// has `progress_key`: every key begins with the members of that.
bool IsOfPartition(std::string_view key, std::string_view progress_key);
std::string ProgressValueJson(const Provenance& provenance, const Progress& progress);
// kStop if it is no such value, or of a version that this program does not know.
Result<Progress> ParseProgress(std::string_view value);

// A value of a counts topic: the running total of a cell or of a row of the ledger, or a progress.
struct CountsRecord {
  SourcePartition from;
  std::string spec_id;
  Offset first;  // of a total: where its group began
  Offset next;
  // One of these.
  std::optional<CountRow> total;
  std::optional<LedgerRow> ledger;
  std::optional<Progress> progress;
  // Of a cell.
  Millis pane_size;
  std::optional<LocationName> location;  // in topics with names
};
Result<CountsRecord> ParseCountsRecord(std::string_view value);

// Where a step stands in the topic that it reads, as it is kept with what it has written: a header
// of the last record of each transaction. Reading goes on at `next`.
struct StepPosition {
  std::string topic_id;
  Offset next;
  // What was already handed on, of each source that is read again from `next`.
  std::map<SourcePartition, Progress> done;
  friend bool operator==(const StepPosition&, const StepPosition&) = default;
};
constexpr std::string_view kPositionHeader = "sightline.position";
std::string StepPositionJson(const StepPosition& position);
Result<StepPosition> ParseStepPosition(std::string_view text);

// The event's own bytes, with the reason in headers, as dead letters are written by others.
Message DeadLetterMessage(const std::string& topic, const SourcePartition& from,
                          const DeadLetter& event);

}  // namespace sightline::kafka
