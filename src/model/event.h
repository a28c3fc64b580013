// Event: one decoded element of a message. Its views point into the message or into the decoder's
// arena; they are valid until the decoder's next Clear().
#pragma once

#include <cstdint>
#include <string_view>

#include "model/types.h"

namespace sightline {

// Why an element could not be decoded. The names are stable: dead letters and HTTP answers carry
// them.
enum class MalformedReason : uint8_t {
  kNone,
  kNotJson,         // does not parse: truncated, text behind it, invalid UTF-8, control characters
  kNotAnObject,     // parses, but is not an object (or an array of objects)
  kMissingField,    // one of the five fields is missing
  kDuplicateField,  // one of the five fields occurs twice
  kWrongType,       // a field does not have the type that its rule asks for
  kOutOfRange,      // an integer beyond 64 bits, or a time outside years 0001..9999
  kItemName,        // item_name is empty or longer than 256 bytes
  kTooDeep,         // nested deeper than the decoder follows
  kTooLarge,        // the element is larger than the decoder accepts
};
std::string_view ToString(MalformedReason reason);

struct Event {
  enum class Kind : uint8_t { kDetection, kHeartbeat, kMalformed };
  Kind kind = Kind::kDetection;
  MalformedReason reason = MalformedReason::kNone;  // of kMalformed
  std::string_view field;  // of kMalformed: the name of the field, or empty
  CameraId camera;
  LocationId location;
  DetectionId id;
  std::string_view item;
  EventTime time;
  EventTime published =
      kBeforeAllTime;      // "timestamp": the publish time; only latency metrics use it
  int32_t index = 0;       // of the element in its message
  int32_t line = 0;        // of the element in its message, 0-based
  std::string_view bytes;  // the element as it came
};

}  // namespace sightline
