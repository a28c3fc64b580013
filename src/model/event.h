// Event: one decoded element of a message. Its views point into the message or into the decoder's
// arena; they are valid until the decoder's next Clear().
#pragma once

#include <cstddef>
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
  kUtf16,           // the message is UTF-16: JSON is sent as UTF-8
  kCsv,             // the message is a table with a line of names
  kNoTimeZone,      // a time that has none, while the pipeline has no timestamp_zone
};
constexpr size_t kMalformedReasons = static_cast<size_t>(MalformedReason::kNoTimeZone) + 1;
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
  // "timestamp": the publish time; only latency metrics use it.
  EventTime published = kBeforeAllTime;
  int32_t index = 0;       // of the element in its message
  int32_t line = 0;        // of the element in its message, 0-based
  std::string_view bytes;  // the element's original bytes
};

}  // namespace sightline
