// Ingest: turns the body of a POST into records for the log, and into the answer to the sender.
//
// Each detection becomes one record in the partition of its camera, with its original bytes but
// without the line break. Rejected elements become records of partition 0, so that the engine
// counts each of them as malformed exactly once. Pure: no socket, clock or thread. One thread at a
// time may use an Ingest. It works in steps, so that a large body does not hold up other requests.
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

// Returns whether the body has only white space and perhaps a byte order mark.
bool IsBlank(std::string_view body);

struct IngestError {
  int64_t line = 0;  // from 1; if the body is one array, the number of the element
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
  // Returns the answer of docs/PROTOCOL.md.
  std::string ToJson() const;
};

// Buffers that decoding reuses from body to body. Each thread needs its own.
struct IngestScratch {
  explicit IngestScratch(TimeUnit unit) : decoder(unit) {}
  Decoder decoder;
  std::vector<Event> events;
  std::string rejected;
};

// Splits a body into its elements: the lines of NDJSON, or the elements of arrays. It looks only at
// braces, strings and commas; the decoder decides whether an element is valid.
class BodySplitter {
 public:
  struct Element {
    std::string_view bytes;  // trimmed; empty between two commas
    int64_t line = 0;
    // The rest of an array that never ends. It must be rejected, even if it could be decoded.
    bool unfinished = false;
    // The body as one object over several lines. This is a guess: see RestartByLines().
    bool whole_object = false;
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
  std::string_view
      span_;  // what is left of the current line, or of the body if a value spans lines
  std::string_view rest_;  // the bytes behind that
  int64_t line_ = 0, number_ = 0;
  bool in_array_ = false;
  bool array_empty_ = false;  // the array has had no element yet
  bool spans_lines_ = false;  // the current value does not end on its line
  bool one_array_ = false;    // the body is one array, so elements are numbered instead of lines
};

class Ingest {
 public:
  // `body` must have kDecodePadding readable bytes behind it and outlive this, as must `scratch`.
  // `partitions` >= 1.
  Ingest(std::string_view body, int32_t partitions, IngestScratch* scratch);
  // Works on about `bytes` more of the body. Returns true when the whole body is done.
  bool Step(size_t bytes);
  // After the last Step().
  Ingested Take();

 private:
  void Decode(const BodySplitter::Element& element);
  void Accept(const Event& event, std::string_view bytes);
  void Reject(const BodySplitter::Element& element, MalformedReason reason, std::string_view field);
  // Adds a record to the partition, and returns the partition's records.
  std::string& Pack(int32_t partition, std::optional<DetectionOrigin> origin,
                    std::string_view record);

  const size_t body_bytes_;
  IngestScratch* const scratch_;
  BodySplitter splitter_;
  std::vector<PackedRecords> slots_;  // by partition
  Ingested done_;
};

}  // namespace sightline
