// Ingest: turns the body of a POST into records for the log and an answer for the sender.
//
// Each detection becomes one record: its original bytes without the line end, in the partition of
// its camera. A rejected element becomes a record, too, in partition 0, so that the engine counts
// it as malformed exactly once. Ingest works in steps, so that a large body does not block its
// thread. Pure: no socket, clock or thread. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/detection_log.h"
#include "model/event.h"
#include "model/types.h"
#include "operators/decode.h"
#include "pipeline/spec.h"

namespace sightline {

constexpr size_t kIngestErrorsMax = 100;
constexpr size_t kRejectedBytesMax = 64 * 1024;  // kept of a rejected element
constexpr size_t kMalformedReasons = static_cast<size_t>(MalformedReason::kTooLarge) + 1;

// Whether the body has only white space, perhaps after a byte order mark.
bool IsBlank(std::string_view body);

struct IngestError {
  int64_t line = 0;  // from 1; if the body is one array, the element's number in it
  MalformedReason reason = MalformedReason::kNone;
  std::string field;  // may be empty
  friend bool operator==(const IngestError&, const IngestError&) = default;
};

struct Ingested {
  std::vector<PackedRecords> records;  // one entry for each partition that has records
  int64_t accepted = 0;                // detections and heartbeats
  int64_t rejected = 0;
  std::array<int64_t, kMalformedReasons> rejected_by{};  // by MalformedReason
  std::vector<IngestError> errors;                       // the first kIngestErrorsMax
  // The answer of docs/PROTOCOL.md.
  std::string ToJson() const;
};

// Buffers of the decoder, reused from body to body. One per thread.
struct IngestScratch {
  explicit IngestScratch(TimeUnit unit) : decoder(unit) {}
  Decoder decoder;
  std::vector<Event> events;
  std::string rejected;
};

// Splits a body into its elements: lines of NDJSON, and elements of arrays. It looks only at
// braces, strings and commas; the decoder decides whether an element is valid.
class BodySplitter {
 public:
  struct Element {
    std::string_view bytes;  // trimmed; empty between two commas
    int64_t line = 0;
    bool unfinished = false;    // the rest of an array that never ends; rejected in any case
    bool whole_object = false;  // a guess that one object spans lines; see RestartByLines()
  };
  explicit BodySplitter(std::string_view body);
  bool Next(Element* element);
  // The guess of `whole_object` was wrong: starts again, line by line.
  void RestartByLines();
  size_t position() const { return body_.size() - rest_.size() - span_.size(); }

 private:
  bool NextSpan();
  bool SplitArray(Element* element);
  void EndArray(size_t bytes);
  int64_t Number();

  const std::string_view body_;
  std::string_view span_;  // what is left of the current line, or of all lines of a value
  std::string_view rest_;  // what follows the span
  int64_t line_ = 0, number_ = 0;
  bool in_array_ = false;
  bool array_empty_ = false;  // no element of the current array so far
  bool spans_lines_ = false;  // the current value does not end on its line
  bool one_array_ = false;    // the body is one array, so errors number elements, not lines
};

class Ingest {
 public:
  // `body` must have kDecodePadding readable bytes after it. `body` and `scratch` must outlive
  // this. `partitions` >= 1.
  Ingest(std::string_view body, int32_t partitions, IngestScratch* scratch);
  // Processes about `bytes` more of the body; true when the body is done.
  bool Step(size_t bytes);
  // Call it once, after the last Step().
  Ingested Take();

 private:
  void Decode(const BodySplitter::Element& element);
  void Accept(const Event& event, std::string_view bytes);
  void Reject(const BodySplitter::Element& element, MalformedReason reason, std::string_view field);
  // Appends a record and returns the partition's buffer, which ends with it.
  std::string& Pack(int32_t partition, std::optional<DetectionOrigin> origin,
                    std::string_view record);

  const size_t body_bytes_;
  IngestScratch* const scratch_;
  BodySplitter splitter_;
  std::vector<PackedRecords> slots_;  // by partition
  Ingested done_;
};

}  // namespace sightline
