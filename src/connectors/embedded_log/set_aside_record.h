// The records of the topics dead_letters and late_detections.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

struct SetAsideRecord {
  SourcePartition from;  // with event.offset and event.index: the key
  SetAside event;
  friend bool operator==(const SetAsideRecord&, const SetAsideRecord&) = default;
};

std::string EncodeSetAside(const SourcePartition& from, const SetAside& event);
// kStop if the bytes are not such a record.
Result<SetAsideRecord> DecodeSetAside(std::string_view bytes);

}  // namespace sightline
