#include "query/query_service.h"

namespace sightline {

Result<std::string> QueryService::TimeZoneOf(const Scope& scope, LocationId location) const {
  const auto state = source_->Current();
  if (!state.ok()) return state.status();
  if (state.value()->locations == nullptr || !scope.Sees(location)) return std::string();
  for (const Location& known : *state.value()->locations)
    if (known.location == location) return known.time_zone;
  return std::string();
}

}  // namespace sightline
