// Location: a row of the location table (Dataset B of docs/SEMANTICS.md).
#pragma once

#include <optional>
#include <string>

#include "model/types.h"

namespace sightline {

struct Location {
  LocationId location;
  std::string name;
  std::optional<double> latitude, longitude;
  std::string time_zone;  // IANA name; empty or unknown: UTC
  std::optional<LocationId> parent;
  friend bool operator==(const Location&, const Location&) = default;
};

}  // namespace sightline
