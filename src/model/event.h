// Event: one element of a message, decoded. Views point into the message or the decoder's arena and
// are valid until the decoder's next Clear().
#pragma once

#include <cstdint>
#include <string_view>

#include "model/types.h"

namespace sightline {

// Why an element could not be decoded. Stable names: they are in dead_letters and in HTTP answers.
enum class MalformedReason : uint8_t {
  kNone,
  kNotJson,         // does not parse: truncated, trailing text, invalid UTF-8, control characters
  kNotAnObject,     // parses, but is no object (nor an array of objects)
  kMissingField,    // one of the five fields is not there
  kDuplicateField,  // one of the five fields is there twice
  kWrongType,       // a field has another type than its rule says
  kOutOfRange,      // an integer beyond int64, or a time beyond years 0001..9999
  kItemName,        // item_name empty or longer than 256 bytes
  kTooDeep,         // nested deeper than the decoder follows
  kTooLarge,        // an element larger than the decoder takes
};
std::string_view ToString(MalformedReason reason);

struct Event {
  enum class Kind : uint8_t { kDetection, kHeartbeat, kMalformed };
  Kind kind = Kind::kDetection;
  MalformedReason reason = MalformedReason::kNone;  // of kMalformed
  std::string_view field;                           // of kMalformed: the field's name, or empty
  CameraId camera;
  LocationId location;
  DetectionId id;
  std::string_view item;
  EventTime time;
  EventTime published = kBeforeAllTime;  // "timestamp": publish time, feeds latency metrics only
  int32_t index = 0;                     // of the element in its message
  int32_t line = 0;                      // of the element in its message, 0-based
  std::string_view bytes;                // the element as it came
};

}  // namespace sightline
