// The keys and values of the topics that Sightline writes: JSON, documented in docs/KAFKA.md.
//
// The key of one thing is always the same byte for byte, because compaction compares keys as bytes.
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

// What every value says about the pipeline that wrote it.
struct Provenance {
  SourcePartition from;
  std::string spec_id;
};

// Key and value of one cell of counts: its running total over the offsets [first, next).
std::string CountKeyJson(const SourcePartition& from, Offset first, const CountKey& key,
                         Millis pane_size);
struct LocationName {
  std::string name;     // empty: unknown
  int64_t version = 0;  // of the location table
};
// `location` is null in topics without names.
std::string CountValueJson(const Provenance& provenance, Offset first, Offset next,
                           const CountRow& row, Millis pane_size, const LocationName* location);

// Key and value of one row of the ledger: its running total over the offsets [first, next).
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
// True if a record with `key` - a total, a ledger row or a progress record - belongs to the
// partition whose progress record has `progress_key`. Every key begins with the members of that.
bool IsOfPartition(std::string_view key, std::string_view progress_key);
std::string ProgressValueJson(const Provenance& provenance, const Progress& progress);
// kStop if it is not such a value, or is of a version that this program does not know.
Result<Progress> ParseProgress(std::string_view value);

// A parsed value of a counts topic: the running total of a cell, the running total of a ledger row,
// or a progress record.
struct CountsRecord {
  SourcePartition from;
  std::string spec_id;
  Offset first;  // of a total: where its group began
  Offset next;
  // Exactly one of these is set.
  std::optional<CountRow> total;
  std::optional<LedgerRow> ledger;
  std::optional<Progress> progress;
  // Only of a cell.
  Millis pane_size;
  std::optional<LocationName> location;  // in topics with names
};
Result<CountsRecord> ParseCountsRecord(std::string_view value);

// Where a step stands in the topic that it reads. It is stored with what the step has written, in a
// header of each transaction's last record. Reading continues at `next`.
struct StepPosition {
  std::string topic_id;
  Offset next;
  // What was already handed on of each source that is read again from `next`.
  std::map<SourcePartition, Progress> done;
  friend bool operator==(const StepPosition&, const StepPosition&) = default;
};
constexpr std::string_view kPositionHeader = "sightline.position";
std::string StepPositionJson(const StepPosition& position);
Result<StepPosition> ParseStepPosition(std::string_view text);

// A dead letter as a record: the event's original bytes as the value, and the reason in headers,
// which is the usual form of dead letters.
Message DeadLetterMessage(const std::string& topic, const SourcePartition& from,
                          const DeadLetter& event);

}  // namespace sightline::kafka
