// Rows of the location table as each room has them: the same members, another type.
#pragma once

#include <vector>

namespace sightline {

// Between Location, LocationEntry and lake::LocationName.
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
