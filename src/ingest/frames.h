// JoinFrames: the detections of one frame - one camera and location, one moment, one after the
// other - as one record: lines of NDJSON. Pure; one thread.
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
  explicit JoinFrames(TimeUnit unit) : decoder_(unit) {}

  // `records`: an element each, without line ends, as Ingest packs them. What is no detection stays
  // alone, and a frame of very many bytes becomes several records.
  PackedRecords Join(const PackedRecords& records);

 private:
  // The time of a detection; nothing for anything else.
  std::optional<EventTime> TimeOf(std::string_view record);

  Decoder decoder_;
  std::string padded_;
  std::vector<Event> events_;
};

}  // namespace sightline
