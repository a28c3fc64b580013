// Scope: the set of locations that a caller may see. Every read in live/ and query/ takes one.
#pragma once

#include <optional>
#include <set>

#include "model/types.h"

namespace sightline {

struct Scope {
  std::optional<std::set<LocationId>> locations;  // none: every location
  static Scope All() { return {}; }
  bool Sees(LocationId location) const { return !locations || locations->contains(location); }
  friend auto operator<=>(const Scope&, const Scope&) = default;
};

}  // namespace sightline
