// The table `locations`: Dataset B as we use it, so that readers of the lake see new names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/storage/storage.h"
#include "model/types.h"

namespace sightline::lake {

struct LocationName {
  LocationId location;
  std::string name;
  std::optional<double> latitude, longitude;
  std::string time_zone;  // IANA; empty: null in the table
  std::optional<LocationId> parent;
  friend bool operator==(const LocationName&, const LocationName&) = default;
};

// Makes the table hold exactly these rows, each location once. True if it had to be written.
Result<bool> WriteLocations(Storage& storage, const Clock& clock,
                            std::vector<LocationName> locations);
// Sorted by location; empty if there is no table.
Result<std::vector<LocationName>> ReadLocationsTable(Storage& storage);

}  // namespace sightline::lake
