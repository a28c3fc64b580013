// LookAt(): what an element says beyond what the decoder makes of it: how its id and its time are
// written, and what its fields are called. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/types.h"
#include "pipeline/decode_rules.h"

namespace sightline {

enum class IdForm : uint8_t { kNone, kInteger, kOther };

struct ElementLook {
  bool is_object = false;  // otherwise nothing else is known
  IdForm id = IdForm::kNone;
  // By its magnitude, of a time that is a number: no unit has times of 1973 to 5138 in common with
  // another one.
  std::optional<TimeUnit> unit;
  bool has_fraction = false;  // the time is a number with a fraction or an exponent
  std::optional<CameraId> camera;
  std::vector<std::string> names;  // of all fields, in their order
};

ElementLook LookAt(std::string_view element);

// The one of `names` that most likely means `field`, one of the five of docs/SEMANTICS.md. Empty:
// none does.
std::string NearestName(std::string_view field, const std::vector<std::string>& names);

}  // namespace sightline
