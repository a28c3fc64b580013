// Ingest: the body of a POST -> records for the log, and what to tell the sender.
//
// Each detection becomes one record: its bytes as they came, without the line end, in the partition
// of its camera. Rejected elements are packed as well, into partition 0, so that the engine counts
// each of them as malformed exactly once. Pure: no socket, no clock, no thread. One thread at a
// time; works in steps, so that a large body does not hold up others on its thread.
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
constexpr size_t kRejectedBytesMax = 64 * 1024;  // of a rejected element that are kept
constexpr size_t kMalformedReasons = static_cast<size_t>(MalformedReason::kTooLarge) + 1;

// Nothing but white space (and a byte order mark): the sender sent nothing.
bool IsBlank(std::string_view body);

struct IngestError {
  int64_t line = 0;  // from 1; the element's number in the array where the body is one
  MalformedReason reason = MalformedReason::kNone;
  std::string field;  // may be empty
  friend bool operator==(const IngestError&, const IngestError&) = default;
};

struct Ingested {
  std::vector<PackedRecords> records;  // one for each partition that got some
  int64_t accepted = 0;                // detections and heartbeats
  int64_t rejected = 0;
  std::array<int64_t, kMalformedReasons> rejected_by{};  // by MalformedReason
  std::vector<IngestError> errors;                       // the first kIngestErrorsMax
  // As docs/PROTOCOL.md has it.
  std::string ToJson() const;
};

// What decoding needs, kept from body to body. One a thread.
struct IngestScratch {
  explicit IngestScratch(TimeUnit unit) : decoder(unit) {}
  Decoder decoder;
  std::vector<Event> events;
  std::string rejected;
};

// Cuts a body into its elements: the lines of NDJSON, the elements of arrays. Looks only at braces,
// strings and commas; whether an element is valid is the decoder's to say.
class BodySplitter {
 public:
  struct Element {
    std::string_view bytes;  // trimmed; empty between two commas
    int64_t line = 0;
    bool unfinished = false;    // the rest of an array that never ends: whatever it says, rejected
    bool whole_object = false;  // the body as one object over lines, a guess: see RestartByLines()
  };
  explicit BodySplitter(std::string_view body);
  bool Next(Element* element);
  // The guess was wrong: start again, line by line.
  void RestartByLines();
  size_t position() const { return body_.size() - rest_.size() - span_.size(); }

 private:
  bool NextSpan();
  bool SplitArray(Element* element);
  void EndArray(size_t bytes);
  int64_t Number();

  const std::string_view body_;
  std::string_view span_;  // of the line in work, or of all when an array spans lines
  std::string_view rest_;  // behind it
  int64_t line_ = 0, number_ = 0;
  bool in_array_ = false;
  bool array_empty_ = false;  // so far
  bool spans_lines_ = false;  // the value in work does not end on its line
  bool one_array_ = false;    // the body is one: elements are numbered, not lines
};

class Ingest {
 public:
  // `body` must have kDecodePadding readable bytes behind it and outlive this, as must `scratch`.
  // `partitions` >= 1.
  Ingest(std::string_view body, int32_t partitions, IngestScratch* scratch);
  // Works on about `bytes` more of the body; true when all is done.
  bool Step(size_t bytes);
  // After the last Step().
  Ingested Take();

 private:
  void Decode(const BodySplitter::Element& element);
  void Accept(const Event& event, std::string_view bytes);
  void Reject(const BodySplitter::Element& element, MalformedReason reason, std::string_view field);
  // The partition's records, of which the new one is the last.
  std::string& Pack(int32_t partition, std::optional<DetectionOrigin> origin,
                    std::string_view record);

  const size_t body_bytes_;
  IngestScratch* const scratch_;
  BodySplitter splitter_;
  std::vector<PackedRecords> slots_;  // by partition
  Ingested done_;
};

}  // namespace sightline
