// ParseLocations: a table is accepted whole or refused. An accepted table has rows, and each oid
// occurs once.

#include "connectors/locations/locations.h"

#include <cstdint>
#include <set>

#include "base/check.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const FuzzInput input(bytes, 0, '\0');
  const Result<std::vector<Location>> table = ParseLocations(input.view());
  if (!table.ok()) {
    CHECK(!table.status().message().empty());
    return;
  }
  CHECK(!table.value().empty());
  std::set<LocationId> seen;
  for (const Location& location : table.value()) CHECK(seen.insert(location.location).second);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
