// The records of the topics dead_letters and late_detections.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

struct DeadLetterRecord {
  SourcePartition from;  // with event.offset and event.index: the record's identity
  DeadLetter event;
  friend bool operator==(const DeadLetterRecord&, const DeadLetterRecord&) = default;
};

std::string EncodeDeadLetter(const SourcePartition& from, const DeadLetter& event);
// kStop if the bytes are not such a record.
Result<DeadLetterRecord> DecodeDeadLetter(std::string_view bytes);

}  // namespace sightline
