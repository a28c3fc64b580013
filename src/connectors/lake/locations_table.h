// The table `locations`: Dataset B as it is used now, so that readers of the lake see new names.
#pragma once

#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "connectors/lake/known_tables.h"
#include "connectors/storage/storage.h"
#include "model/location.h"

namespace sightline::lake {

// Makes the table contain exactly these rows; each location occurs once. True if it had to be
// written. An empty time zone is null in the table. OpenOrCreate() explains `known`.
Result<bool> WriteLocations(Storage& storage, const Clock& clock, std::vector<Location> locations,
                            KnownTables* known = nullptr);
// Reads the table, sorted by location; empty if there is no table.
Result<std::vector<Location>> ReadLocationsTable(Storage& storage);

}  // namespace sightline::lake
