// DecodeRules: how the bytes of a message become events (docs/SEMANTICS.md, "Decoding"). Plain
// data.
//
// They decide outcomes, so a pipeline keeps those that it began with. The defaults here are those
// of a new pipeline; kOldestRules are those of a pipeline that stored none.
#pragma once

#include <cstdint>
#include <string>

namespace sightline {

enum class TimeUnit : uint8_t { kSeconds, kMillis, kMicros, kNanos };
// What a detection_oid may be.
enum class DetectionIds : uint8_t {
  kInteger,  // of 64 bits
  kAny,      // also any other number or text of 1..kIdTextBytesMax bytes
};
// The version of the rules by which messages are split and times are read. A version is never
// changed once a pipeline may have counted by it.
enum class Decoding : uint8_t { kFirst = 1, kSecond = 2 };
enum class ItemNames : uint8_t {
  kAsSent,
  kNfc,  // Unicode Normalization Form C (UAX #15), so that one word is one item
};

constexpr size_t kIdTextBytesMax = 128;

struct DecodeRules {
  TimeUnit timestamp_unit = TimeUnit::kMillis;
  DetectionIds detection_ids = DetectionIds::kAny;
  Decoding version = Decoding::kSecond;
  ItemNames item_names = ItemNames::kAsSent;
  // Of times without one: an IANA name. Empty: such times are malformed.
  std::string timestamp_zone{};
};

// Which rules somebody has chosen. The others are those that the pipeline has, or the newest.
struct ChosenRules {
  bool detection_ids = false, decoding = false;
};

inline const DecodeRules kOldestRules{.detection_ids = DetectionIds::kInteger,
                                      .version = Decoding::kFirst};

}  // namespace sightline
