// A random topic: what cameras send, as messages of bytes, and what each element means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/event.h"
#include "pipeline/spec.h"
#include "reach.h"

namespace sightline::sim {

// One element of a message as the camera meant it. The reference reads this; the program under test
// reads the bytes.
struct Element {
  Event::Kind kind = Event::Kind::kDetection;
  MalformedReason reason = MalformedReason::kNone;
  int64_t camera = 0, location = 0, id = 0;
  std::string item;
  int64_t time = 0;   // ms
  std::string bytes;  // as in the message
};

struct Message {
  int64_t camera = 0;       // the message key
  int64_t append_time = 0;  // kNoAppendTime.v if the log has none
  std::vector<Element> elements;
  std::string payload;
};

// A valid spec with lengths of tens of milliseconds, so that a short topic covers many windows,
// horizons and ages.
PipelineSpec RandomSpec(Prng& prng);

// The messages of the cameras c and c + 16 lie in one partition whether there are 1, 4 or 16. Only
// such cameras share ids.
std::vector<Message> RandomTopic(Prng& prng, const PipelineSpec& spec);

}  // namespace sightline::sim
