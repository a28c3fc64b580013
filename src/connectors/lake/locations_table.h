// The table `locations`: Dataset B as it is used now, so that readers of the lake see new names.
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
  std::string time_zone;  // IANA name; empty: null in the table
  std::optional<LocationId> parent;
  friend bool operator==(const LocationName&, const LocationName&) = default;
};

// Makes the table contain exactly these rows; each location occurs once. True if it had to be
// written.
Result<bool> WriteLocations(Storage& storage, const Clock& clock,
                            std::vector<LocationName> locations);
// Reads the table, sorted by location; empty if there is no table.
Result<std::vector<LocationName>> ReadLocationsTable(Storage& storage);

}  // namespace sightline::lake
