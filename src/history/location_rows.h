// Converts rows of the location table between the types of the rooms, which have the same members.
#pragma once

#include <vector>

namespace sightline {

// Converts between Location, LocationEntry and lake::LocationName.
template <typename To, typename From>
std::vector<To> LocationRowsAs(const std::vector<From>& rows) {
  std::vector<To> result;
  result.reserve(rows.size());
  for (const From& row : rows)
    result.push_back({.location = row.location,
                      .name = row.name,
                      .latitude = row.latitude,
                      .longitude = row.longitude,
                      .time_zone = row.time_zone,
                      .parent = row.parent});
  return result;
}

}  // namespace sightline
