// JoinFrames: joins the consecutive detections of one frame (one camera, location and moment) into
// one record of NDJSON lines. Pure; used by one thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/detection_log.h"
#include "model/event.h"
#include "operators/decode.h"
#include "pipeline/spec.h"

namespace sightline {

class JoinFrames {
 public:
  explicit JoinFrames(const DecodeRules& rules) : decoder_(rules) {}

  // Each of `records` must be one element without line breaks, as Ingest packs them. Elements that
  // are not detections stay records of their own. A very large frame becomes several records.
  PackedRecords Join(const PackedRecords& records);

 private:
  // Returns the time of a detection. Nothing: the record is not a detection.
  std::optional<EventTime> TimeOf(std::string_view record);

  Decoder decoder_;
  std::string padded_;
  std::vector<Event> events_;
};

}  // namespace sightline
