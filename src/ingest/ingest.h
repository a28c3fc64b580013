// Ingest: turns the body of a POST into records for the log and an answer for the sender.
//
// Each detection becomes one record: its original bytes, with spaces for line ends, in the
// partition of its camera. A rejected element becomes a record, too, in partition 0, so that the
// engine counts it as malformed exactly once. Ingest works in steps, so that a large body does not
// block its thread. Pure: no socket, clock or thread. One thread at a time.
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
#include "operators/split_message.h"
#include "pipeline/spec.h"

namespace sightline {

constexpr size_t kIngestErrorsMax = 100;
constexpr size_t kRejectedBytesMax = 64 * 1024;  // kept of a rejected element

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
  // The status and the body of the answer of docs/PROTOCOL.md, once the records are durable: 200,
  // or 422 (problem details, RFC 9457) if every element was rejected.
  int status() const { return accepted == 0 && rejected > 0 ? 422 : 200; }
  std::string ToJson() const;
};

// Buffers of the decoder, reused from body to body. One per thread.
struct IngestScratch {
  explicit IngestScratch(const DecodeRules& rules) : decoder(rules) {}
  Decoder decoder;
  std::vector<Event> events;
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
  void Decode(const ElementSplitter::Element& element);
  void Accept(const Event& event, std::string_view bytes);
  void Reject(std::string_view bytes, const IngestError& error);
  int64_t NumberOf(const ElementSplitter::Element& element) const;
  // Appends a record and returns the partition's buffer, which ends with it.
  std::string& Pack(int32_t partition, std::optional<DetectionOrigin> origin,
                    std::string_view record);

  const std::string_view body_;  // without its byte order mark
  IngestScratch* const scratch_;
  ElementSplitter splitter_;
  const bool one_array_;              // errors number its elements, not lines
  std::vector<PackedRecords> slots_;  // by partition
  Ingested done_;
};

}  // namespace sightline
