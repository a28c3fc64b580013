#include "model/event.h"

#include "base/check.h"

namespace sightline {

std::string_view ToString(MalformedReason reason) {
  switch (reason) {
    case MalformedReason::kNone:
      return "none";
    case MalformedReason::kNotJson:
      return "not_json";
    case MalformedReason::kNotAnObject:
      return "not_an_object";
    case MalformedReason::kMissingField:
      return "missing_field";
    case MalformedReason::kDuplicateField:
      return "duplicate_field";
    case MalformedReason::kWrongType:
      return "wrong_type";
    case MalformedReason::kOutOfRange:
      return "out_of_range";
    case MalformedReason::kItemName:
      return "item_name";
    case MalformedReason::kTooDeep:
      return "too_deep";
    case MalformedReason::kTooLarge:
      return "too_large";
    case MalformedReason::kUtf16:
      return "utf_16";
    case MalformedReason::kCsv:
      return "csv";
    case MalformedReason::kNoTimeZone:
      return "no_time_zone";
  }
  CHECK(false);
  return {};
}

}  // namespace sightline
